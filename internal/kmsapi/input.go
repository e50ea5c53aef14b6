package kmsapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"berth/internal/ecr"
	"berth/internal/kms"
	"berth/internal/kms/local"
)

// An input is a request body whose members are asked for one by one. What is
// wrong with them is kept for err.
type input struct {
	members    map[string]json.RawMessage
	path       string // before the names of members in violations
	refused    error  // told before violations
	violations []string
}

// read takes a body apart. Names of members are told apart by case, as AWS does.
func read(body []byte) *input {
	in := &input{}
	if len(bytes.TrimSpace(body)) == 0 {
		return in
	}
	if !utf8.Valid(body) || json.Unmarshal(body, &in.members) != nil {
		in.serialization("The request body is not a JSON object.")
	}
	return in
}

// refuse notes an error that is told before constraints.
func (in *input) refuse(err error) {
	if in.refused == nil {
		in.refused = err
	}
}

func (in *input) serialization(message string) {
	in.refuse(&ecr.Exception{Type: ecr.CodeSerialization, Message: message, Status: http.StatusBadRequest})
}

// err is what was wrong, in the words of AWS: all constraints at once.
func (in *input) err() error {
	switch n := len(in.violations); {
	case in.refused != nil:
		return in.refused
	case n == 1:
		return invalid("1 validation error detected: " + in.violations[0])
	case n > 1:
		return invalid(fmt.Sprintf("%d validation errors detected: %s", n, strings.Join(in.violations, "; ")))
	}
	return nil
}

func invalid(message string) error { return &kms.Error{Code: codeValidation, Message: message} }

// violate notes a broken constraint; paths begin in lower case.
func (in *input) violate(member, value, constraint string) {
	if value != "null" {
		value = "'" + clip(value) + "'"
	}
	member = strings.ToLower(member[:1]) + member[1:]
	in.violations = append(in.violations, "Value "+value+" at '"+in.path+member+"' failed to satisfy constraint: "+constraint)
}

// clip keeps a value from making the answer as large as the request.
func clip(s string) string {
	if len(s) <= 256 {
		return s
	}
	return strings.ToValidUTF8(s[:256], "") + "..."
}

// value gives the JSON of a member; one that is null is absent.
func (in *input) value(name string, required bool) (json.RawMessage, bool) {
	raw, ok := in.members[name]
	if !ok || string(raw) == "null" {
		if required {
			in.violate(name, "null", "Member must not be null")
		}
		return nil, false
	}
	return raw, true
}

// into reads a member of a JSON type.
func (in *input) into(name string, raw json.RawMessage, kind string, dst any) bool {
	if json.Unmarshal(raw, dst) != nil {
		in.serialization("The value at '" + name + "' can not be converted to a " + kind)
		return false
	}
	return true
}

// text reads a string of min to max characters.
func (in *input) text(name string, required bool, min, max int) string {
	raw, ok := in.value(name, required)
	var s string
	if !ok || !in.into(name, raw, "String", &s) {
		return ""
	}
	in.length(name, s, min, max)
	return s
}

func (in *input) length(name, s string, min, max int) {
	switch n := utf8.RuneCountInString(s); {
	case n < min:
		in.violate(name, s, fmt.Sprintf("Member must have length greater than or equal to %d", min))
	case n > max:
		in.violate(name, s, fmt.Sprintf("Member must have length less than or equal to %d", max))
	}
}

// key reads the name of a key.
func (in *input) key(name string) string { return in.text(name, true, 1, 2048) }

// alias reads the name of an alias.
func (in *input) alias(name string) string {
	s := in.text(name, true, 1, 256)
	if strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(":/_-", r)
	}) {
		in.violate(name, s, "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")
	}
	return s
}

// enum reads one of some values, or gives the one for none.
func (in *input) enum(name, none string, values ...string) string {
	raw, ok := in.value(name, false)
	s := none
	if ok && in.into(name, raw, "String", &s) && !slices.Contains(values, s) {
		in.violate(name, s, "Member must satisfy enum value set: ["+strings.Join(values, ", ")+"]")
	}
	return s
}

// integer reads a number of min to max, or gives the one for none.
func (in *input) integer(name string, none, min, max int) int {
	raw, ok := in.value(name, false)
	n := none
	if !ok || !in.into(name, raw, "Integer", &n) {
		return none
	}
	switch {
	case n < min:
		in.violate(name, fmt.Sprint(n), fmt.Sprintf("Member must have value greater than or equal to %d", min))
	case n > max:
		in.violate(name, fmt.Sprint(n), fmt.Sprintf("Member must have value less than or equal to %d", max))
	}
	return n
}

// boolean reads one; it is false when it is absent.
func (in *input) boolean(name string) (b bool) {
	if raw, ok := in.value(name, false); ok {
		in.into(name, raw, "Boolean", &b)
	}
	return b
}

// blob reads bytes of 1 to max.
func (in *input) blob(name string, max int) []byte {
	raw, ok := in.value(name, true)
	var s string
	if !ok || !in.into(name, raw, "Blob", &s) {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		in.serialization("The value at '" + name + "' is not valid base64")
		return nil
	}
	switch {
	case len(b) == 0:
		in.violate(name, "", "Member must have length greater than or equal to 1")
	case len(b) > max:
		in.violate(name, "java.nio.HeapByteBuffer", fmt.Sprintf("Member must have length less than or equal to %d", max))
	}
	return b
}

// maxContext bounds an encryption context, in bytes of its names and values.
const maxContext = 8192

// context reads an encryption context.
func (in *input) context() kms.Context {
	raw, ok := in.value("EncryptionContext", false)
	var c map[string]*string
	if !ok || !in.into("EncryptionContext", raw, "Map", &c) {
		return nil
	}
	out, size := kms.Context{}, 0
	for name, value := range c {
		if value == nil {
			in.violate("EncryptionContext."+clip(name)+".member", "null", "Member must not be null")
			continue
		}
		size += len(name) + len(*value)
		out[name] = *value
	}
	if size > maxContext {
		in.violate("EncryptionContext", "...", fmt.Sprintf("Member must have length less than or equal to %d", maxContext))
	}
	return out
}

// tags reads a list of tags. Their limits are the service's.
func (in *input) tags(required bool) map[string]string {
	raw, ok := in.value("Tags", required)
	var list []map[string]json.RawMessage
	if !ok || !in.into("Tags", raw, "List", &list) {
		return nil
	}
	out := map[string]string{}
	for i, members := range list {
		t := &input{members: members, path: fmt.Sprintf("tags.%d.member.", i+1)}
		name, value := t.text("TagKey", true, 1, 128), t.text("TagValue", true, 0, 256)
		if _, twice := out[name]; twice {
			t.refuse(&kms.Error{Code: local.TagInvalid, Message: "Duplicate tag keys"})
		}
		out[name] = value
		in.violations = append(in.violations, t.violations...)
		if t.refused != nil {
			in.refuse(t.refused)
		}
	}
	return out
}

// names reads a list of strings.
func (in *input) names(name string) []string {
	raw, ok := in.value(name, true)
	var list []string
	if ok {
		in.into(name, raw, "List", &list)
	}
	return list
}

// A window is the part of a list that a request asks for.
type window struct {
	list  string // which list, so that no marker serves another
	after string // the last that the caller has
	limit int
}

// window reads Limit and Marker.
func (in *input) window(list string, none, max int) window {
	w := window{list: list, limit: min(in.integer("Limit", none, 1, 1000), max)}
	marker := in.text("Marker", false, 1, 1024)
	if marker == "" {
		return w
	}
	raw, err := base64.RawURLEncoding.DecodeString(marker)
	after, mine := strings.CutPrefix(string(raw), list+"\n")
	if err != nil || !mine || after == "" || !utf8.ValidString(after) || strings.ContainsRune(after, 0) {
		in.refuse(&kms.Error{Code: codeInvalidMarker, Message: "Could not deserialize marker"})
	}
	w.after = after
	return w
}

// next is the marker after an element, or "" when there is nothing after it.
func (w window) next(more bool, last string) string {
	if !more {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(w.list + "\n" + last))
}
