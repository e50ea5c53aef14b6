package terraform_test

import (
	"strings"

	"berth/internal/server/servertest"
)

var outputNames = []string{
	"docker_login_command", "flowise_server_url", "flowise_ui_url", "repository_arns", "repository_registry_ids", "repository_urls",
}

// sameOutputs compares the outputs of Terraform's registry with those of another server's, byte for byte.
func (b *bench) sameOutputs(other *servertest.Server) {
	b.Helper()
	for _, form := range []struct{ terraform, native []string }{
		{nil, nil},
		{[]string{"-json"}, []string{"--json"}},
	} {
		theirs := b.tf(0, append([]string{"output"}, form.terraform...)...).Stdout
		ours := b.native(other, 0, append([]string{"output", "."}, form.native...)...).Stdout
		if theirs == "" || ours != theirs {
			b.Errorf("outputs %q:\n--- berth\n%s\n--- terraform\n%s", form.native, ours, theirs)
		}
	}
	known := b.tf(0, "output").Stdout
	for _, name := range outputNames {
		if !strings.Contains("\n"+known, "\n"+name+" = ") {
			// It is null, so there is none: both say so.
			b.tf(1, "output", name)
			b.native(other, 1, "output", ".", name)
			continue
		}
		for _, form := range []struct{ terraform, native []string }{
			{nil, nil},
			{[]string{"-json"}, []string{"--json"}},
			{[]string{"-raw"}, []string{"--raw"}},
		} {
			status := 0
			if form.native != nil && form.native[0] == "--raw" && strings.HasPrefix(name, "repository_") {
				status = 1 // a map has no raw form
			}
			theirs := b.tf(status, append(append([]string{"output"}, form.terraform...), name)...).Stdout
			ours := b.native(other, status, append([]string{"output", ".", name}, form.native...)...).Stdout
			if ours != theirs {
				b.Errorf("output %s %q:\n--- berth\n%q\n--- terraform\n%q", name, form.native, ours, theirs)
			}
		}
	}
}
