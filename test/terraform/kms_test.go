package terraform_test

import (
	"testing"
)

// testKey makes a KMS key, an alias and encrypted repositories in one apply.
func testKey(t *testing.T, l *lab) {
	b := l.newBench(t)
	main := func(enabled string) string {
		return `
resource "aws_kms_key" "images" {
  description             = "images at rest"
  deletion_window_in_days = 7
  enable_key_rotation     = true
  is_enabled              = ` + enabled + `
  tags                    = { Component = "registry" }
}

resource "aws_kms_alias" "images" {
  name          = "alias/images"
  target_key_id = aws_kms_key.images.key_id
}

module "ecr" {
  source = "./modules/ecr"

  repositories    = { app = {} }
  encryption_type = "KMS"
  kms_key_arn     = aws_kms_key.images.arn
}

output "key" {
  value = aws_kms_key.images.arn
}
`
	}
	b.write("main.tf", main("true"))
	b.tf(0, "init")
	same(t, "counts of terraform apply", b.apply().counts, counts{Add: 4})
	b.converged()
	key := b.tf(0, "output", "-raw", "key").Stdout
	for _, repository := range describe(t, b.server) {
		if got := *repository.EncryptionConfiguration.KmsKey; got != key {
			t.Errorf("the repository is encrypted with %s, expected %s", got, key)
		}
	}

	// A key that is switched off stops pushes, and the repository stays as it is.
	push := func() int {
		resp, _ := b.server.Do("POST", "/v2/app/blobs/uploads/", nil)
		return resp.StatusCode
	}
	same(t, "push with the key", push(), 202)
	b.write("main.tf", main("false"))
	same(t, "counts of terraform apply", b.apply().counts, counts{Change: 1})
	b.converged()
	same(t, "push with the key disabled", push(), 403)
	b.write("main.tf", main("true"))
	same(t, "counts of terraform apply", b.apply().counts, counts{Change: 1})
	same(t, "push with the key enabled again", push(), 202)

	b.tf(0, "destroy", "-auto-approve")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}
