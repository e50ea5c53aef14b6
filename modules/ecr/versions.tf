terraform {
  # The module itself needs 1.3 (optional object attributes with defaults). The floor is 1.5 because
  # checks.tf warns through `check` blocks, which older releases refuse to parse.
  required_version = ">= 1.5.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 5.100 is the oldest release this module is tested with; it knows every attribute used here.
      version = ">= 5.100, < 7.0"
    }
  }
}
