package policy

import (
	"fmt"
	"strings"
)

// Error is a refused policy document.
type Error struct {
	// Line and Column, counted from 1 in characters, say where the fault starts.
	Line, Column int

	reason error
}

// Error returns ECR's text, which never says more.
func (e *Error) Error() string {
	return "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'"
}

// Reason says what is wrong and where, for logs and the command line.
func (e *Error) Reason() string {
	return fmt.Sprintf("line %d, column %d: %v", e.Line, e.Column, e.reason)
}

// Unwrap returns the reason without its place.
func (e *Error) Unwrap() error { return e.reason }

// fault is a reason at a byte offset of the text.
type fault struct {
	offset int
	reason error
}

func faultAt(offset int, format string, args ...any) *fault {
	return &fault{offset: offset, reason: fmt.Errorf(format, args...)}
}

// locate turns a fault into an Error.
func (f *fault) locate(text string) *Error {
	before := text[:min(max(f.offset, 0), len(text))]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	return &Error{Line: line, Column: column, reason: f.reason}
}

// clip keeps what the document said short inside a reason.
func clip(s string) string {
	const limit = 128
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
