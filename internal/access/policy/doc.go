// Package policy reads IAM-style JSON policy documents and checks them as ECR
// does when a repository policy is set.
//
// It guarantees:
//
//   - what [ParseRepositoryPolicy] accepts is complete and typed: every
//     statement has an effect, principals and actions, every action names at
//     least one ECR operation, every condition uses an operator of IAM with a
//     value that the operator can read;
//   - the [Document] is normalised (account numbers become root ARNs, single
//     values become lists, principals and conditions are sorted), so an evaluator
//     has one form to handle and two documents that mean the same compare equal
//     more often;
//   - an accepted document, marshalled and parsed again, is the same document;
//   - nothing ambiguous passes: names are matched in their exact case and a
//     member that occurs twice is refused, so that no two readers can take the
//     same text differently;
//   - a refusal has ECR's one sentence as its text, and the precise reason with
//     line and column apart from it.
//
// Parsing is linear in the text, which is limited to [MaxTextLength] characters.
// The package is pure. It does not look whether principals exist, which ECR
// answers with "Principal not found", and does not evaluate.
//
// Source: IAM User Guide, "IAM JSON policy element reference" and "Grammar of
// the IAM JSON policy language"; ECR User Guide, "Private repository policies";
// ECR API Reference, SetRepositoryPolicy. Confirmed by published ECR output are
// the sentence and that it is given for wildcards inside principal ARNs and for
// ecr:GetAuthorizationToken. Whether ECR refuses unknown operation names, empty
// lists and malformed condition values is not confirmed; they are refused here
// because such a statement can never do what it says.
package policy
