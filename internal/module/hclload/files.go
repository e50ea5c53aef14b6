package hclload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
)

// maxFile bounds every file that is read, in bytes. A configuration file of more than 8 MiB is a mistake.
const maxFile = 8 << 20

// source is one file to parse: the name shown in messages and its bytes.
type source struct {
	name string
	body []byte
}

// readCapped reads a regular file of at most maxFile bytes.
func readCapped(path string) (b []byte, err error) {
	if ok, err := isFile(path); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("%s: there is no such file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readAllCapped(f, path)
}

func readAllCapped(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", name, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: is larger than %d MiB, which no configuration file should be", name, maxFile>>20)
	}
	return b, nil
}

// isFile says whether path is a regular file; a directory or a device is not, and is an error.
func isFile(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot look at the file: %w", err)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s: is not a regular file", path)
	}
	return true, nil
}

// directory is a root directory sorted into its kinds of files.
type directory struct {
	config   []source // *.tf
	autoVars []source // terraform.tfvars(.json), then *.auto.tfvars(.json), in the order of precedence
}

// readDirectory reads every configuration and variables file of dir.
func readDirectory(dir string) (*directory, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory %s: %w", dir, underlying(err))
	}
	var d directory
	var auto []string
	vars := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		switch {
		case entry.IsDir() || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasPrefix(name, "#"):
			continue
		case strings.HasSuffix(name, ".tf.json"):
			return nil, fmt.Errorf("%s: configuration in JSON syntax is not supported: write the block in HCL, in a file ending in .tf", path)
		case name == "override.tf" || strings.HasSuffix(name, "_override.tf"):
			return nil, fmt.Errorf("%s: override files are not supported: put the final values in the file they override", path)
		case strings.HasSuffix(name, ".tf"):
			body, err := readCapped(path)
			if err != nil {
				return nil, err
			}
			d.config = append(d.config, source{path, body})
		case name == "terraform.tfvars" || name == "terraform.tfvars.json":
			vars[name] = true
		case strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json"):
			auto = append(auto, name)
		}
	}
	sort.Strings(auto)
	var names []string
	for _, name := range []string{"terraform.tfvars", "terraform.tfvars.json"} {
		if vars[name] {
			names = append(names, name)
		}
	}
	for _, name := range append(names, auto...) {
		path := filepath.Join(dir, name)
		body, err := readCapped(path)
		if err != nil {
			return nil, err
		}
		d.autoVars = append(d.autoVars, source{path, body})
	}
	return &d, nil
}

// underlying drops the path that an *fs.PathError repeats.
func underlying(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parseHCL parses native syntax.
func parseHCL(s source) (*hcl.File, hcl.Diagnostics) {
	return hclsyntax.ParseConfig(s.body, s.name, hcl.InitialPos)
}

// parseVars parses a variables file, native or JSON, and returns its attributes.
func parseVars(s source) (hcl.Attributes, hcl.Diagnostics) {
	var file *hcl.File
	var diags hcl.Diagnostics
	if strings.HasSuffix(s.name, ".json") {
		file, diags = hcljson.Parse(s.body, s.name)
	} else {
		file, diags = parseHCL(s)
	}
	if diags.HasErrors() {
		return nil, diags
	}
	attrs, more := file.Body.JustAttributes()
	return attrs, append(diags, more...)
}

// sortedAttributes returns attributes in the order of the source, so that messages do not change from run to run.
func sortedAttributes(attrs hcl.Attributes) []*hcl.Attribute {
	list := make([]*hcl.Attribute, 0, len(attrs))
	for _, a := range attrs {
		list = append(list, a)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i].Range, list[j].Range
		if a.Filename != b.Filename {
			return a.Filename < b.Filename
		}
		return a.Start.Byte < b.Start.Byte
	})
	return list
}
