package policy

import (
	"strings"
	"unicode/utf8"
)

// In the text of a pattern the wildcards "*" and "?" are bytes that no UTF-8
// text has, so that a literal star, or one that comes out of a variable, is
// never taken for a wildcard.
const (
	anyText = "\xff"
	oneRune = "\xfe"
)

// wildcards encodes the wildcards of s.
func wildcards(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "*", anyText), "?", oneRune)
}

// match reports whether the whole of s matches a pattern made by wildcards. A
// star takes anything, ":" and "/" too; a question mark takes one character.
//
// What stands between two stars is looked for once, and the first place found is
// kept: if the rest fits after a later place, it fits after the first as well.
// So the time is linear, but for parts with question marks, where it is the
// product of the lengths of the part and of s at worst.
func match(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, anyText)
	n := matchPrefix(head, s)
	if n < 0 {
		return false
	}
	if !star {
		return n == len(s)
	}
	for s = s[n:]; ; s = s[n:] {
		part, after, more := strings.Cut(rest, anyText)
		if !more {
			return matchSuffix(part, s)
		}
		if n = findEnd(part, s); n < 0 {
			return false
		}
		rest = after
	}
}

// glob is a pattern made by wildcards, taken apart for many questions. Most of
// what is asked differs in the plain beginning already.
type glob struct {
	text  string
	plain int // where the first wildcard is
	// parts is what stands between and after the stars, when there are stars and
	// no question marks.
	parts []string
}

func newGlob(text string) glob {
	g := glob{text: text}
	for g.plain < len(text) && text[g.plain] != anyText[0] && text[g.plain] != oneRune[0] {
		g.plain++
	}
	if g.plain < len(text) && !strings.Contains(text, oneRune) {
		g.parts = strings.Split(text[g.plain+1:], anyText)
	}
	return g
}

// match is the function match, faster.
func (g *glob) match(s string) bool {
	if len(s) < g.plain || s[:g.plain] != g.text[:g.plain] {
		return false
	}
	s = s[g.plain:]
	if g.parts == nil {
		return match(g.text[g.plain:], s)
	}
	last := len(g.parts) - 1
	for _, part := range g.parts[:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, g.parts[last])
}

// matchFold matches without regard to case a pattern as policies spell it.
func matchFold(pattern, s string) bool {
	return match(wildcards(strings.ToLower(pattern)), strings.ToLower(s))
}

// matchPrefix returns how much of s a part without stars takes from the start,
// or -1.
func matchPrefix(part, s string) int {
	if !strings.Contains(part, oneRune) {
		if strings.HasPrefix(s, part) {
			return len(part)
		}
		return -1
	}
	n := 0
	for i := range len(part) {
		switch {
		case n >= len(s):
			return -1
		case part[i] == oneRune[0]:
			_, size := utf8.DecodeRuneInString(s[n:])
			n += size
		case part[i] == s[n]:
			n++
		default:
			return -1
		}
	}
	return n
}

// findEnd returns where the first place in s that a part takes ends, or -1.
func findEnd(part, s string) int {
	if !strings.Contains(part, oneRune) {
		if i := strings.Index(s, part); i >= 0 {
			return i + len(part)
		}
		return -1
	}
	for i := 0; i < len(s); {
		if n := matchPrefix(part, s[i:]); n >= 0 {
			return i + n
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return -1
}

// matchSuffix reports whether a part takes the end of s.
func matchSuffix(part, s string) bool {
	if !strings.Contains(part, oneRune) {
		return strings.HasSuffix(s, part)
	}
	start := len(s)
	for range utf8.RuneCountInString(part) { // a oneRune counts as one
		if start == 0 {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(s[:start])
		start -= size
	}
	return matchPrefix(part, s[start:]) == len(s)-start
}
