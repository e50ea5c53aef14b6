package desired

import (
	"fmt"
	"strings"
)

// maxStackID is the length of a tag value, in characters.
// https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html
const maxStackID = 256

// StackID joins parts with slashes into the value of OwnerTag. AWS allows letters, digits, spaces and _.:/=+-@ in tag
// values, so other bytes, and the slash and the equals sign within a part, are written as =XX. The error says that the
// id is too long.
func StackID(parts ...string) (string, error) {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		var b strings.Builder
		for _, c := range []byte(part) {
			if c != '/' && c != '=' && allowed(c) {
				b.WriteByte(c)
				continue
			}
			fmt.Fprintf(&b, "=%02X", c)
		}
		escaped[i] = b.String()
	}
	return limited(strings.Join(escaped, "/"))
}

// NamedStackID is the id of a stack that its user named; parts tell its instances apart. The name is taken as it is,
// so that what a tag shows can be given as a name.
func NamedStackID(name string, parts ...string) (string, error) {
	for _, c := range []byte(name) {
		if !allowed(c) {
			return "", fmt.Errorf("the stack name %q holds %q, which a tag cannot: use letters, digits, spaces and _.:/=+-@", name, c)
		}
	}
	if len(parts) == 0 {
		return limited(name)
	}
	rest, err := StackID(parts...)
	if err != nil {
		return "", err
	}
	return limited(name + "/" + rest)
}

func limited(id string) (string, error) {
	if len(id) > maxStackID {
		return "", fmt.Errorf("the stack id %q is longer than the %d characters of a tag: name the stack with --stack", id, maxStackID)
	}
	return id, nil
}

func allowed(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(" _.:/=+-@", c) >= 0
}
