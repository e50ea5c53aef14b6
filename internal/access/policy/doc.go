// Package policy reads IAM-style JSON policy documents, checks them as AWS does
// when they are set, and answers what they allow and deny.
//
// There are three kinds: policies of repositories ([ParseRepositoryPolicy]),
// those of users, groups and roles with permissions boundaries and session
// policies ([ParseIdentityPolicy]), and those that say who may assume a role
// ([ParseTrustPolicy]). For the parsers the package guarantees:
//
//   - what they accept is complete and typed: every statement has an effect and
//     actions, and principals and resources where its kind has them; every action
//     of a repository policy names at least one ECR operation; every condition
//     uses an operator of IAM with a value that the operator can read;
//   - the [Document] is normalised (account numbers become root ARNs, single
//     values become lists, principals and conditions are sorted), so the evaluator
//     has one form to handle and two documents that mean the same compare equal
//     more often;
//   - an accepted document, marshalled and parsed again, is the same document;
//   - nothing ambiguous passes: names are matched in their exact case and a
//     member that occurs twice is refused, so that no two readers can take the
//     same text differently;
//   - a refusal has the sentence of AWS as its text, and the precise reason with
//     line and column apart from it.
//
// Parsing is linear in the text. That of a repository policy is limited to
// [MaxTextLength] characters; the others are limited by the caller.
//
// For [Document.Evaluate], and [Compile] when there are many questions, it
// guarantees:
//
//   - a decision depends on the document and the [Query] alone: no clock, no
//     store, no order of the statements;
//   - an explicit deny wins, and what nothing allows is not allowed;
//   - what cannot be known matches nothing: a key without a value, a variable
//     without one, a value that its operator cannot read. As in IAM that makes
//     the negated operators true;
//   - values of the request never act as wildcards or variables;
//   - time is linear in the policy and the request, but for wildcards "?", where
//     it is the product of two strings at worst.
//
// How the policies of both sides are joined is not decided here but in
// [berth/internal/access.Rules].
//
// The package is pure. It does not look whether principals exist, which ECR
// answers with "Principal not found".
//
// Source: IAM User Guide, "IAM JSON policy element reference", "Grammar of the
// IAM JSON policy language" and "Policy evaluation logic"; ECR User Guide,
// "Private repository policies"; ECR API Reference, SetRepositoryPolicy.
// Confirmed by published output of ECR are its sentence and that it is given for
// wildcards inside principal ARNs and for ecr:GetAuthorizationToken. Whether ECR
// refuses unknown operation names, empty lists, malformed condition values and
// variables under operators that have none is not confirmed; they are refused
// here because such a statement can never do what it says. Of IAM's messages
// those about principals, missing or malformed resources, action names, Sids and
// the prohibited field Resource are published output; the others, and when IAM
// gives which, are not confirmed, nor is that it refuses NotAction in a trust
// policy.
package policy
