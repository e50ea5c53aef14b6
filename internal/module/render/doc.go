// Package render writes plans and outputs for people, in the notation that readers of Terraform's plans know, and for
// programs, as JSON in the format of `terraform show -json` and `terraform output -json`.
//
// Formats: https://developer.hashicorp.com/terraform/internals/json-format
package render
