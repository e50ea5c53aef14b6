package desired

import (
	"fmt"
	"net/url"
	"strings"
)

// The value of OwnerTag is STACK:LABEL for an instance of the module without a key, and STACK:LABEL:KEY for one of
// for_each or count: the stack is the whole configuration, the label is that of the module block. All of it together
// says which instance created a repository, and the part before the first colon whose repositories a configuration may
// change at all, even when the block that created them is gone.

// maxStackID is the length of a tag value, in characters.
// https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html
const maxStackID = 256

// StackName joins the names of a path into the name of a stack.
func StackName(place []string) string {
	escaped := make([]string, len(place))
	for i, part := range place {
		escaped[i] = escape(part)
	}
	return strings.Join(escaped, "/")
}

// CheckStackName says what is wrong with a name that a user chose.
func CheckStackName(name string) error {
	for _, c := range []byte(name) {
		if c == ':' || !allowed(c) {
			return fmt.Errorf("the stack name %q holds %q: use letters, digits, spaces and _./=+-@", name, c)
		}
	}
	return nil
}

// StackID is the value of OwnerTag for an instance; keyed says whether it has a key. The error says that the id is too
// long.
func StackID(stack, label, key string, keyed bool) (string, error) {
	id := stack + ":" + escape(label)
	if keyed {
		id += ":" + escape(key)
	}
	if len(id) > maxStackID {
		return "", fmt.Errorf("the stack id %q is longer than the %d characters of a tag: choose a short name with --stack", id, maxStackID)
	}
	return id, nil
}

// StackOf is the stack in an id, empty when it is not one.
func StackOf(id string) string {
	stack, _, ok := strings.Cut(id, ":")
	if !ok {
		return ""
	}
	return stack
}

// AddressOf reconstructs the address of the instance in an id, for a module block that is no longer there. A key of
// digits only is taken for one of count.
func AddressOf(id string) string {
	_, rest, _ := strings.Cut(id, ":")
	label, key, keyed := strings.Cut(rest, ":")
	address := "module." + unescape(label)
	switch key = unescape(key); {
	case !keyed:
		return address
	case strings.Trim(key, "0123456789") == "" && key != "":
		return address + "[" + key + "]"
	}
	return fmt.Sprintf("%s[%q]", address, key)
}

// escape writes bytes that a tag value may not hold, and those that structure an id, as =XX. AWS allows letters,
// digits, spaces and _.:/=+-@.
func escape(part string) string {
	var b strings.Builder
	for _, c := range []byte(part) {
		if allowed(c) && strings.IndexByte(":/=", c) < 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "=%02X", c)
	}
	return b.String()
}

// unescape undoes escape; what escape did not write stays as it is.
func unescape(s string) string {
	// A percent sign and a plus sign mean something to url, and escape never writes the former.
	text, err := url.PathUnescape(strings.ReplaceAll(s, "=", "%"))
	if err != nil {
		return s
	}
	return text
}

func allowed(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(" _.:/=+-@", c) >= 0
}
