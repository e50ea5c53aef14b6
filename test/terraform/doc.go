// Package terraform holds tests only: the real Terraform with the real hashicorp/aws provider, and the native engine
// beside it, against servers of this process.
//
// They prove that
//
//   - every example and every snippet of the seed plans, applies, converges, gives its outputs and is destroyed without
//     a rest;
//   - every attribute of the module can be changed, and the plan after the change is empty;
//   - Terraform and `berth plan | apply | output | destroy` do the same with the same directory: the same plan, the same
//     registry, the same outputs to the byte, where the few documented differences are spelled out one by one;
//   - every resource of ECR that the provider has is applied, planned again without changes, changed, imported and
//     destroyed, and every data source read; the provider's own schema says which there are;
//   - neither destroys what the other manages.
//
// Starting the provider costs seconds, so a test run starts two of them in their debug mode and lets many runs of
// Terraform share them (https://developer.hashicorp.com/terraform/plugin/debugging). Terraform and the provider come
// from this machine (see testkit.Tool and testkit.PluginMirror); nothing is downloaded.
package terraform
