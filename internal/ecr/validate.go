package ecr

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// wording is how ECR words the constraints of a shape where that was observed to differ from the general form.
type wording struct {
	bare    bool   // no "Member" before "must", and the pattern in quotes
	pattern string // the pattern that ECR prints; it may be narrower than the one it enforces
	enum    string // the values in ECR's order
}

// wordingOf is the hand-written table of observed texts, by shape.
func wordingOf(shape *Shape) wording {
	switch shape {
	case shapeRepositoryName:
		// Both forms as quoted by users of the real service: aws-actions/amazon-ecr-login's create-repository issue 231
		// for the pattern, aws/aws-dotnet-deploy issue 549 for the length. Since the printed pattern was quoted, the
		// service has come to accept the doubled separators of OCI names, so the model's wider pattern is enforced:
		// whatever that one refuses, the printed one refuses too.
		return wording{bare: true, pattern: `(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*`}
	case shapeImageTagMutability:
		// The order in which the AWS parity tests of getmoto/moto expect them.
		return wording{enum: "IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION"}
	}
	return wording{}
}

// validate checks the constraints of a value that has the right types, in model order, and returns the first violation
// as a *ConstraintError, or nil.
func validate(shape *Shape, n *node) error {
	if err := firstViolation(shape, n); err != nil {
		return err
	}
	return nil
}

func firstViolation(shape *Shape, n *node) *ConstraintError {
	switch shape.Kind {
	case KindStructure:
		return structureViolation(shape, n)
	case KindList:
		if err := sizeViolation(shape, n.size); err != nil {
			return err
		}
		for i := range n.kids {
			if err := elementViolation(shape.Elem, &n.kids[i]); err != nil {
				return err.within(element(i))
			}
		}
	case KindMap:
		return mapViolation(shape, n)
	case KindString:
		return stringViolation(shape, n.text)
	case KindBlob:
		return sizeViolation(shape, blobLen(n.blob))
	case KindInteger, KindLong:
		return numberViolation(shape, n.num)
	}
	return nil
}

func structureViolation(shape *Shape, n *node) *ConstraintError {
	for i := range shape.Members {
		m, kid := &shape.Members[i], &n.kids[i]
		switch {
		case kid.present:
			if err := firstViolation(m.Shape, kid); err != nil {
				return err.within(m.Name)
			}
		case m.Required:
			return (&ConstraintError{Constraint: "Member must not be null"}).within(m.Name)
		}
	}
	return nil
}

func mapViolation(shape *Shape, n *node) *ConstraintError {
	if err := sizeViolation(shape, n.size); err != nil {
		return err
	}
	for i, key := range n.keys {
		err := stringViolation(shape.Key, key)
		if err == nil {
			err = elementViolation(shape.Elem, &n.kids[i])
		}
		if err != nil {
			return err.within(key)
		}
	}
	return nil
}

// elementViolation is firstViolation for a value that may not be null.
func elementViolation(shape *Shape, n *node) *ConstraintError {
	if !n.present {
		return &ConstraintError{Constraint: "Member must not be null"}
	}
	return firstViolation(shape, n)
}

func stringViolation(shape *Shape, s string) *ConstraintError {
	if shape.Min != nil || shape.Max != nil {
		if err := sizeViolation(shape, utf8.RuneCountInString(s)); err != nil {
			return err
		}
	}
	if shape.Pattern != nil && !shape.Pattern.Match(s) {
		w := wordingOf(shape)
		if w.bare {
			return &ConstraintError{Constraint: fmt.Sprintf("must satisfy regular expression '%s'", w.pattern)}
		}
		return &ConstraintError{Constraint: "Member must satisfy regular expression pattern: " + shape.Pattern.Text}
	}
	if shape.Enum != nil && !slices.Contains(shape.Enum, s) {
		values := wordingOf(shape).enum
		if values == "" {
			values = strings.Join(shape.Enum, ", ")
		}
		return &ConstraintError{Constraint: "Member must satisfy enum value set: [" + values + "]"}
	}
	return nil
}

// sizeViolation checks a length or a number of elements.
func sizeViolation(shape *Shape, size int) *ConstraintError {
	return boundViolation(shape, int64(size), "length")
}

func numberViolation(shape *Shape, value int64) *ConstraintError {
	return boundViolation(shape, value, "value")
}

func boundViolation(shape *Shape, v int64, what string) *ConstraintError {
	relation, limit := "", int64(0)
	switch {
	case shape.Min != nil && v < *shape.Min:
		relation, limit = "greater", *shape.Min
	case shape.Max != nil && v > *shape.Max:
		relation, limit = "less", *shape.Max
	default:
		return nil
	}
	text := fmt.Sprintf("must have %s %s than or equal to %d", what, relation, limit)
	if !wordingOf(shape).bare {
		text = "Member " + text
	}
	return &ConstraintError{Constraint: text}
}

// within puts a path segment before the member of a violation found further down.
func (e *ConstraintError) within(segment string) *ConstraintError {
	e.Member = join(segment, e.Member)
	return e
}

// blobLen is the number of bytes that base64 text stands for, without decoding it; for text that is not base64 it is
// only an estimate, and decoding it will fail.
func blobLen(b64 []byte) int {
	n := len(b64) / 4 * 3
	for i := len(b64) - 1; i >= 0 && i >= len(b64)-2 && b64[i] == '='; i-- {
		n--
	}
	return n
}
