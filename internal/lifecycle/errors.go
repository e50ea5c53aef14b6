package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Error is a refused policy.
type Error struct {
	// Path is the place in the document, such as "rules[0].selection.countUnit";
	// empty for the document as a whole.
	Path string
	// Body is ECR's description of the failure.
	Body string
	// Hint says in plain words what to do, for operators; may be empty.
	Hint string

	constraint bool // Body is the whole constraint, not a validation failure
}

// Error returns the message of ECR's InvalidParameterException.
func (e *Error) Error() string {
	body := e.Body
	if !e.constraint {
		body = "Lifecycle policy validation failure: " + body
	}
	return "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: '" + body + "'"
}

// Reason returns what is wrong and where, for logs and for the command line,
// where there is no need to repeat ECR's wording.
func (e *Error) Reason() string {
	reason := strings.TrimSuffix(e.Body, "\n")
	if e.Hint != "" {
		reason = e.Hint
	}
	if e.Path == "" {
		return reason
	}
	return e.Path + ": " + reason
}

// schemaError is a failure of ECR's JSON schema; those texts end in a line break.
func schemaError(path, hint, format string, args ...any) *Error {
	return &Error{Path: path, Body: fmt.Sprintf(format, args...) + "\n", Hint: hint}
}

// ruleError is a failure of ECR's own checks behind the schema.
func ruleError(path, format string, args ...any) *Error {
	return &Error{Path: path, Body: fmt.Sprintf(format, args...)}
}

func unmappable() *Error {
	return &Error{Body: "Could not map policyString into LifecyclePolicy.", Hint: "the policy is not a JSON object"}
}

func wrongType(path string, v any, want string) *Error {
	return schemaError(path, "", "instance type (%s) does not match any allowed primitive type (allowed: %s)", typeName(v), quote(want))
}

func notInEnum(path, got string, allowed ...string) *Error {
	return schemaError(path, "", "instance value (%s) not found in enum (possible values: %s)", quoteOne(clip(got)), quote(allowed...))
}

func tooLow(path string, minimum int, found json.Number) *Error {
	return schemaError(path, "", "numeric instance is lower than the required minimum (minimum: %d, found: %s)", minimum, clip(found.String()))
}

func noSelectionSchema(path, hint string) *Error {
	return schemaError(path, hint, "instance failed to match exactly one schema (matched 0 out of 4)")
}

func noActionSchema(path, hint string) *Error {
	return schemaError(path, hint, "instance failed to match exactly one schema (matched 0 out of 2)")
}

// typeName is the JSON type of a decoded value in the words of JSON schema.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "number"
		}
		return "integer"
	case []any:
		return "array"
	}
	return "object"
}

// quote renders a list of strings as compact JSON.
func quote(list ...string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quoteOne(s)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func quoteOne(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `"` + s + `"` // a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// clip keeps what the document said short inside a message.
func clip(s string) string {
	const limit = 256
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
