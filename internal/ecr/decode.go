package ecr

import (
	"bytes"
	"fmt"
	"reflect"
)

// SerializationError says that a body is not JSON, or that a member has the wrong JSON type.
type SerializationError struct {
	Member string // path of the member, empty when the whole body is meant
	Reason string

	syntax bool // the body is not JSON: its members mean nothing
}

// Error is the reason, in the words of AWS JSON services where they are known, and the member.
func (e *SerializationError) Error() string {
	if e.Member == "" {
		return e.Reason
	}
	return e.Reason + " at '" + e.Member + "'"
}

// Exception is the SerializationException to answer.
func (e *SerializationError) Exception() *Exception {
	return NewException(CodeSerialization, e.Error())
}

// ConstraintError says that a member violates a constraint of the service model. Member is the path of the member, as
// AWS writes paths: imageIds.1.member.imageTag, counted from one.
type ConstraintError struct {
	Member     string
	Constraint string
}

// Error is the sentence that ECR answers.
func (e *ConstraintError) Error() string {
	return fmt.Sprintf("Invalid parameter at '%s' failed to satisfy constraint: '%s'", e.Member, e.Constraint)
}

// Exception is the InvalidParameterException to answer.
func (e *ConstraintError) Exception() *Exception {
	return NewException(CodeInvalidParameter, e.Error())
}

// Decode parses the body of a request for the operation, validates it against the service model and returns the typed
// input, a pointer to the type that [Operation.NewInput] makes. An empty body is an empty object.
//
// The error is a [*SerializationError] or the first [*ConstraintError] in model order. Rules beyond the service model,
// such as the grammar of a policy, are not Decode's.
func (op *Operation) Decode(body []byte) (any, error) {
	input := op.NewInput()
	if err := decode(op.Input, body, input); err != nil {
		return nil, err
	}
	return input, nil
}

// decode fills dst, a pointer to the Go struct of the structure shape, from body.
func decode(shape *Shape, body []byte, dst any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	root, err := parse(shape, body)
	if err != nil {
		return err
	}
	if !root.present { // null
		root = node{present: true, kids: make([]node, len(shape.Members))}
	}
	if err := validate(shape, &root); err != nil {
		return err
	}
	if err := bind(shape, &root, reflect.ValueOf(dst).Elem()); err != nil {
		return err
	}
	return nil
}

// join puts a path segment before a path.
func join(head, tail string) string {
	if head == "" || tail == "" {
		return head + tail
	}
	return head + "." + tail
}

// element is the path segment of the i-th element of a list, counted from zero here and from one on the wire.
func element(i int) string { return fmt.Sprintf("%d.member", i+1) }
