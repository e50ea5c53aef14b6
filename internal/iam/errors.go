package iam

import (
	"fmt"
	"net/http"
	"regexp"
	"unicode"
	"unicode/utf8"

	"berth/internal/meta"
)

// An Error is a refusal in IAM's words (IAM API reference, "Common errors" and
// the errors of each operation).
type Error struct {
	Status  int // of HTTP
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Codes of refusals.
const (
	CodeNoSuchEntity    = "NoSuchEntity"
	CodeExists          = "EntityAlreadyExists"
	CodeDeleteConflict  = "DeleteConflict"
	CodeLimitExceeded   = "LimitExceeded"
	CodeValidation      = "ValidationError"
	CodeInvalidInput    = "InvalidInput"
	CodeMalformedPolicy = "MalformedPolicyDocument"
)

func noSuch(format string, args ...any) error {
	return &Error{http.StatusNotFound, CodeNoSuchEntity, fmt.Sprintf(format, args...)}
}

func exists(format string, args ...any) error {
	return &Error{http.StatusConflict, CodeExists, fmt.Sprintf(format, args...)}
}

func conflict(message string) error { return &Error{http.StatusConflict, CodeDeleteConflict, message} }

func limit(format string, args ...any) error {
	return &Error{http.StatusConflict, CodeLimitExceeded, fmt.Sprintf(format, args...)}
}

// Invalid is a ValidationError.
func Invalid(format string, args ...any) error {
	return &Error{http.StatusBadRequest, CodeValidation, fmt.Sprintf(format, args...)}
}

func malformed(message string) error {
	return &Error{http.StatusBadRequest, CodeMalformedPolicy, message}
}

// Constraint is a ValidationError about one member.
func Constraint(member, value, constraint string) error {
	if value != "null" {
		if len(value) > 256 {
			value = value[:256] + "..."
		}
		value = "'" + value + "'"
	}
	return Invalid("1 validation error detected: Value %s at '%s' failed to satisfy constraint: %s", value, member, constraint)
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]+$`)
	pathPattern = regexp.MustCompile(`^/(?:[\x21-\x7e]*/)?$`)
)

// CheckName checks a name of a member of the API, of up to max characters.
func CheckName(member, name string, max int) error {
	switch {
	case name == "":
		return Constraint(member, "null", "Member must not be null")
	case utf8.RuneCountInString(name) > max:
		return Constraint(member, name, fmt.Sprintf("Member must have length less than or equal to %d", max))
	case !namePattern.MatchString(name):
		return Invalid("The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", member)
	}
	return nil
}

func checkPath(path string) error {
	if len(path) > 512 || !pathPattern.MatchString(path) {
		return Invalid("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return nil
}

// checkTags bounds tags (IAM User Guide, "Tags for IAM resources").
func checkTags(tags map[string]string) error {
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128:
			return Constraint("tags.1.member.key", k, "Member must have length less than or equal to 128")
		case utf8.RuneCountInString(v) > 256:
			return Constraint("tags.1.member.value", v, "Member must have length less than or equal to 256")
		}
	}
	if len(tags) > 50 {
		return limit("The number of tags has reached the maximum limit.")
	}
	return nil
}

// policySize counts a document as its quota does: without white space.
func policySize(text string) (n int) {
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// title is how errors begin with a kind.
func title(kind string) string {
	if kind == meta.KindRole {
		return "Role"
	}
	return "User"
}
