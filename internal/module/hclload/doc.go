// Package hclload reads a Terraform root directory, or a bare .tfvars file, and evaluates the calls of the ECR module
// in it, without Terraform.
//
// It guarantees:
//   - Types, defaults and validations of the module's inputs come from the variables.tf of the module that is called, so
//     the native engine and the Terraform module cannot drift apart.
//   - Values are found in Terraform's order of precedence: TF_VAR_ variables, terraform.tfvars, terraform.tfvars.json,
//     *.auto.tfvars and *.auto.tfvars.json by name, then --var and --var-file in the order given; the last one wins.
//   - Nothing that is written in the configuration is silently ignored: what this package does not understand is an
//     error that names file, line and column and says what to do. Terraform drops unknown attributes of typed objects;
//     here they are errors with a suggestion.
//   - Loading reads files only. It never contacts a registry: values of the three data sources it knows
//     (aws_caller_identity, aws_region, aws_partition) are supplied by the caller as [Facts].
//
// The language is described at https://developer.hashicorp.com/terraform/language.
package hclload
