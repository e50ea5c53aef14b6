// Package lifecycle reads lifecycle policy documents, checks them as
// PutLifecyclePolicy does, and tells what a policy does to the images of a
// repository.
//
// It guarantees:
//
//   - what [Parse] accepts satisfies every rule of the grammar and every rule
//     across rules, so an evaluator meets no contradiction;
//   - a [Policy] is normalised: rules in order of priority, the storage class
//     spelled out;
//   - an accepted policy, marshalled and parsed again, is the same policy (the
//     marshalled text of one close to the limit of length may pass it);
//   - a refusal is an *[Error] whose text is ECR's whole sentence, and which
//     tells operators the place in the document apart from it;
//   - [Evaluate] depends on nothing but the policy, the images and the moment, so
//     a preview and a run at one moment are the same; no image is acted on twice,
//     and none that an index lists which stays.
//
// The package is pure: no I/O, no clock.
//
// Source: ECR User Guide, "Lifecycle policy properties" and "Automate the
// cleanup of images", "Lifecycle policy evaluation rules"; ECR API Reference, PutLifecyclePolicy (100 to 30720
// characters); ECR quotas (50 rules). AWS checks the document against a JSON
// schema with the json-schema-validator library for Java, whose phrases are used
// where a single property is at fault. Confirmed by published ECR output: the
// "matched 0 out of" phrases (four selection schemas, two action schemas, each
// text ending in a line break), "Could not map", and the three sentences on
// TAGGED, ANY and Untagged. Not confirmed: the sentences on duplicate
// priorities, duplicate tag lists, wildcards, tag lists on other statuses, and
// actions that do not fit a count type.
package lifecycle
