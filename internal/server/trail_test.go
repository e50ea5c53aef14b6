package server_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/trail"
)

// Every request at every door is in the audit log, with who made it and what
// was decided, and without what it was made with.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "audit.log")
	s := servertest.StartWith(t, server.Config{AuditLog: name})
	s.CreateRepositories("app")
	user, password := s.Login()
	resp, _ := s.Do("GET", "/v2/", nil)
	if resp.StatusCode != 200 && resp.StatusCode != 401 || resp.Header.Get("x-amzn-RequestId") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	s.Do("GET", "/v2/app/tags/list?ticket=hidden", nil, "Authorization", "Basic nonsense-of-a-stranger")
	s.Stop()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{password, s.Root.SecretAccessKey, "nonsense-of-a-stranger", "hidden"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the audit log holds %q", secret)
		}
	}
	var doors, actions []string
	for line := range strings.Lines(string(text)) {
		var r trail.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		doors = append(doors, r.Door)
		for _, d := range r.Decisions {
			actions = append(actions, d.Action+" "+d.Decision+" "+r.Principal)
		}
	}
	// Do logs in each time.
	const root = " allow arn:aws:iam::000000000000:root"
	want := "ecr:CreateRepository" + root + strings.Repeat(", ecr:GetAuthorizationToken"+root, 3)
	if strings.Join(doors, " ") != "ecr ecr ecr oci ecr oci" || strings.Join(actions, ", ") != want || user == "" {
		t.Errorf("%v, %v", doors, actions)
	}
}
