// Package access says who calls and whether the call is allowed.
//
// Both doors, the JSON API and the registry API, turn a request into one
// [Request] (a [Principal], an operation name such as "ecr:PutImage", and the
// ARN it touches) and ask one [Authorizer]. Authorisation goes by operation
// name, never by HTTP verb or path, so that two routes to the same operation
// cannot disagree.
//
// The package guarantees:
//
//   - it fails closed: a request without a principal, an action or an owning
//     account is an error, never an allow;
//   - a denial is always a *[DeniedError] carrying AWS's own sentence;
//   - the rule that joins identity-based and resource-based permissions (explicit
//     deny first, either side within an account, both sides across accounts)
//     stands in [Rules] and nowhere else; what each side says comes from a
//     [Source], which is where a policy evaluator plugs in.
//
// The sub-packages prove who the caller is (sigv4 for signed API calls, token
// for registry passwords), and read and evaluate policy documents (policy). None
// of them performs I/O of its own.
package access
