// Package ecrapi is the door of the Amazon ECR API: AWS JSON 1.1 over POST /.
//
// A request goes through the same steps whatever its operation: its target
// names the operation, its signature names the caller, the model's constraints
// check its body, package access decides by the operation's name, and only then
// is the domain asked. The table in routes.go is the one list of operations
// offered; an operation that is not in it does not exist.
package ecrapi
