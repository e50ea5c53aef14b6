// Package ecr holds the wire types of the Amazon ECR API and the rules that a request must meet before it means anything.
//
// The API is AWS JSON 1.1: a POST whose X-Amz-Target header names the operation and whose body is one JSON object. The
// types, the constraint tables and the list of operations are generated from model.json, the facts of the public service
// model (see internal/gen/ecrmodel); everything else here is pure code over those tables.
//
// # Guarantees
//
//   - [Operation.Decode] looks at the JSON itself, so it tells an absent member from an empty one. A member of the wrong
//     JSON type gives a [*SerializationError]; otherwise the first violated constraint in model order gives a
//     [*ConstraintError], whose text is ECR's; otherwise the result is the operation's typed input.
//   - Names are matched exactly, an explicit null is the same as an absent member, the last of duplicate members wins, and
//     members the model does not know are checked for syntax and ignored.
//   - Decode never panics, never keeps a reference to the body, nests at most 64 deep, and needs memory in proportion to
//     the values the model knows, not to what a hostile body repeats.
//   - In JSON written from the output types, a nil list, map or pointer, a zero time and an empty string that is not
//     required are absent; an empty but non-nil list is []; booleans and required strings are always present.
//
// Types carry the names of the model, with Request and Response turned into Input and Output; field names follow Go's
// spelling of initialisms (repositoryArn is RepositoryARN). Integers are pointers, since absent and zero differ.
//
// The replication backfill operations come from a newer source that lists neither their errors nor the constraints of
// the shapes new with them: their Errors are empty and those shapes unconstrained.
package ecr

//go:generate go run ../gen/ecrmodel generate -model model.json -out .
