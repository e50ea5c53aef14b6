// Package login stores registry logins where docker, podman and the other
// container tools look for them.
//
// The files are those of docker's config.json and of containers-auth.json(5):
// a JSON object whose member auths maps a registry host to base64 of
// user:password. Everything else in a file is kept as it is, and a file is
// replaced as a whole or not at all. Its mode is 0600.
package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files lists the login files of this user: docker's, and the one that podman,
// buildah and skopeo use when it is named or exists. getenv reads the
// environment; home is the user's home directory.
func Files(getenv func(string) string, home string) []string {
	docker := getenv("DOCKER_CONFIG")
	if docker == "" {
		docker = filepath.Join(home, ".docker")
	}
	files := []string{filepath.Join(docker, "config.json")}
	if f := getenv("REGISTRY_AUTH_FILE"); f != "" {
		return append(files, f)
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		f := filepath.Join(dir, "containers", "auth.json")
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	return files
}

// Store adds or replaces the login for a registry host in a file, which is
// made when missing. A file that is not a JSON object is left alone.
func Store(file, host, user, password string) error {
	doc, err := read(file)
	if err != nil {
		return err
	}
	auths := map[string]json.RawMessage{}
	if raw, ok := doc["auths"]; ok {
		if err := json.Unmarshal(raw, &auths); err != nil {
			return fmt.Errorf("the member auths of %s is not a JSON object: repair or remove the file", file)
		}
	}
	entry, err := json.Marshal(map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))})
	if err != nil {
		return err
	}
	auths[host] = entry
	if doc["auths"], err = json.Marshal(auths); err != nil {
		return err
	}
	return write(file, doc)
}

func read(file string) (map[string]json.RawMessage, error) {
	doc := map[string]json.RawMessage{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(b) == 0) {
		return doc, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the login file: %w", err)
	}
	if err := json.Unmarshal(b, &doc); err != nil || doc == nil {
		return nil, fmt.Errorf("the login file %s is not a JSON object: repair or remove it", file)
	}
	return doc, nil
}

// write replaces a file by renaming a new one over it. A symbolic link stays
// one: the file behind it is replaced.
func write(file string, doc map[string]json.RawMessage) (err error) {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	b, err := json.MarshalIndent(doc, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the login file: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".berth-login-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write the login file: %w", err)
	}
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the login file: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}
