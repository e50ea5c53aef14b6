package policy

import (
	"fmt"
	"strings"
)

// Error is a refused policy document.
type Error struct {
	// Line and Column, counted from 1 in characters, say where the fault starts.
	Line, Column int

	reason   error
	sentence string
}

// Error returns what AWS answers: of a repository policy ECR's one text, which
// never says more; of the policies of IAM the message of MalformedPolicyDocument.
func (e *Error) Error() string { return e.sentence }

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
	// sentence is IAM's message for it, if IAM has one of its own.
	sentence string
}

func faultAt(offset int, format string, args ...any) *fault {
	return &fault{offset: offset, reason: fmt.Errorf(format, args...)}
}

// saying gives the fault IAM's own message.
func (f *fault) saying(format string, args ...any) *fault {
	f.sentence = fmt.Sprintf(format, args...)
	return f
}

// locate turns a fault into an Error.
func (f *fault) locate(text string, d dialect) *Error {
	before := text[:min(max(f.offset, 0), len(text))]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	sentence := d.sentence
	if d.explains && f.sentence != "" {
		sentence = f.sentence
	}
	return &Error{Line: line, Column: column, reason: f.reason, sentence: sentence}
}

// clip keeps what the document said short inside a reason.
func clip(s string) string {
	const limit = 128
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
