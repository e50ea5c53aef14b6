package ecr

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the tokens of JSON text (RFC 8259) without copying them.
type scanner struct {
	buf []byte
	pos int
}

// peek skips white space and returns the next byte without taking it, or 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.buf) {
		switch c := s.buf[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// next moves to the next entry of an object or array: over the comma before it, unless it is the first. It reports true
// after taking the closing byte.
func (s *scanner) next(closing byte, first bool) (done bool, err error) {
	switch c := s.peek(); {
	case c == closing:
		s.pos++
		return true, nil
	case first:
		return false, nil
	case c == ',':
		s.pos++
		return false, nil
	}
	return false, s.unexpected()
}

// key reads the name of a member and the colon after it.
func (s *scanner) key() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.unexpected()
	}
	raw, escaped, err := s.str()
	if err != nil {
		return nil, err
	}
	if escaped {
		raw = unescape(raw)
	}
	if s.peek() != ':' {
		return nil, s.unexpected()
	}
	s.pos++
	return raw, nil
}

// literal takes the given word.
func (s *scanner) literal(word string) error {
	end := s.pos + len(word)
	if end > len(s.buf) || string(s.buf[s.pos:end]) != word {
		return s.syntax("unknown literal")
	}
	s.pos = end
	return nil
}

// number takes a number and returns its text.
func (s *scanner) number() (string, error) {
	start := s.pos
	s.accept("-")
	if s.accept("0") == 0 && s.digits() == 0 {
		return "", s.syntax("a number needs a digit")
	}
	if s.accept(".") > 0 && s.digits() == 0 {
		return "", s.syntax("a fraction needs a digit")
	}
	if s.accept("eE") > 0 {
		s.accept("+-")
		if s.digits() == 0 {
			return "", s.syntax("an exponent needs a digit")
		}
	}
	return string(s.buf[start:s.pos]), nil
}

// accept takes one byte if it is one of set, and returns how many it took.
func (s *scanner) accept(set string) int {
	if s.pos < len(s.buf) {
		for i := range len(set) {
			if s.buf[s.pos] == set[i] {
				s.pos++
				return 1
			}
		}
	}
	return 0
}

// digits takes all digits that follow and returns how many.
func (s *scanner) digits() int {
	start := s.pos
	for s.pos < len(s.buf) && s.buf[s.pos] >= '0' && s.buf[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// str takes a string and returns what is between the quotes, as part of the buffer, and whether it has escapes, which
// are known to be well formed then.
func (s *scanner) str() (raw []byte, escaped bool, err error) {
	s.pos++ // the quote
	start, ascii := s.pos, true
	for {
		s.pos += plain(s.buf[s.pos:])
		if s.pos >= len(s.buf) {
			return nil, false, s.syntax("a string does not end")
		}
		switch c := s.buf[s.pos]; {
		case c == '"':
			raw = s.buf[start:s.pos]
			if !ascii && !utf8.Valid(raw) {
				return nil, false, s.syntax("a string is not valid UTF-8")
			}
			s.pos++
			return raw, escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		case c < 0x20:
			return nil, false, s.syntax("a string has a control character that is not escaped")
		default:
			ascii = ascii && c < utf8.RuneSelf
			s.pos++
		}
	}
}

// plain returns how many bytes at the start of b are certainly ordinary ASCII characters of a string. It looks at eight
// bytes at a time, since the base64 of a layer part is megabytes of nothing else.
func plain(b []byte) int {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// A byte's high bit is set in each term if, in this order, it is below 0x20, a quote, a backslash, not ASCII.
		if ((x-ones*0x20)|(quote-ones)|(slash-ones)|x)&high != 0 {
			break
		}
	}
	return n
}

// escape takes one escape sequence.
func (s *scanner) escape() error {
	rest := s.buf[s.pos+1:]
	if len(rest) > 0 {
		switch rest[0] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			s.pos += 2
			return nil
		case 'u':
			if len(rest) >= 5 && hex4(rest[1:5]) >= 0 {
				s.pos += 6
				return nil
			}
		}
	}
	return s.syntax("a string has an unknown escape")
}

// hex4 is the value of four hexadecimal digits, or -1.
func hex4(b []byte) rune {
	v, err := strconv.ParseUint(string(b), 16, 16)
	if err != nil {
		return -1
	}
	return rune(v)
}

// unescape returns a copy of raw, which str has checked, with its escapes resolved. Half a surrogate pair becomes the
// replacement character, as in encoding/json.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		c := raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(raw[i : i+4])
			i += 4
			if utf16.IsSurrogate(r) {
				if pair := lowSurrogate(r, raw[i:]); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return out
}

// lowSurrogate joins a surrogate with the escape that follows it, or returns utf8.RuneError if they are no pair.
func lowSurrogate(high rune, rest []byte) rune {
	if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
		return utf8.RuneError
	}
	return utf16.DecodeRune(high, hex4(rest[2:6]))
}

// unexpected is the error for a byte, or the end, where something else belongs.
func (s *scanner) unexpected() error {
	if s.pos >= len(s.buf) {
		return s.syntax("it ends too early")
	}
	return s.syntax(fmt.Sprintf("unexpected %q", s.buf[s.pos]))
}

// syntax is the error for text that is not JSON, or beyond the parser's limits, at the current position.
func (s *scanner) syntax(what string) error {
	return &SerializationError{
		Reason: fmt.Sprintf("the request body is not acceptable JSON at byte %d: %s", s.pos, what),
		syntax: true,
	}
}
