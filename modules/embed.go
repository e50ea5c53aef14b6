// Package modules carries the Terraform modules of this repository inside the binary.
//
// The native engine reads a module's variables.tf for types, defaults and validations. With the module embedded it
// does so from the very text that Terraform applies, also where no checkout is at hand, so the two cannot drift.
package modules

import "embed"

// FS holds the configuration files of every module, one directory each: ecr/variables.tf, ecr/main.tf and so on.
// Tests and documents of a module are not part of it.
//
//go:embed ecr/*.tf
var FS embed.FS
