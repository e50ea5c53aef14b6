package terraform_test

import "testing"

// TestTerraform is one test because its parts share the provider processes, which end with it. Run a single part with
// go test ./test/terraform -run 'TestTerraform/examples/basic'.
func TestTerraform(t *testing.T) {
	l := newLab(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *lab)
	}{
		{"changes", testChanges}, // the longest comes first
		{"examples", testExamples},
		{"seed", testSeed},
		{"empty", testEmpty},
		{"non-empty", testNonEmpty},
		{"encryption", testEncryption},
		{"key", testKey},
		{"secret", testSecret},
		{"users and roles", testIAM},
		{"every resource of ECR", testProvider},
		{"creation templates", testTemplates},
		{"errors", testErrors},
		{"interrupted", testInterrupted},
		{"owners", testOwners},
		{"user", testUser},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.run(t, l)
		})
	}
}
