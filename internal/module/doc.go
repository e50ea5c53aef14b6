// Package module is the native engine: it applies the ECR module without Terraform.
//
// A [Stack] is a configuration that was loaded; a [Client] speaks to a registry, Amazon ECR or any other with its API;
// a [Plan] is what has to be done for the registry to match the configuration. The package speaks only the ECR API (and
// STS GetCallerIdentity where a configuration asks who is calling), so it works against AWS and against Berth alike, and
// it keeps no state file: see package plan for what belongs to a stack, and how that is known.
//
// The work is done by packages with one task each: hclload evaluates the configuration, desired turns inputs into the
// state they ask for, live reads what exists, plan compares the two, apply carries the plan out, and render writes it.
package module
