package ecr

import "regexp"

// Kind is the kind of value a [Shape] describes.
type Kind uint8

// The kinds of shapes in the service model.
const (
	KindStructure Kind = iota + 1
	KindList
	KindMap
	KindString
	KindBlob
	KindInteger
	KindLong
	KindDouble
	KindBoolean
	KindTimestamp
)

// String is the name of the kind as serialization errors print it.
func (k Kind) String() string {
	names := [...]string{
		KindStructure: "Structure", KindList: "List", KindMap: "Map", KindString: "String", KindBlob: "Blob",
		KindInteger: "Integer", KindLong: "Long", KindDouble: "Double", KindBoolean: "Boolean", KindTimestamp: "Timestamp",
	}
	if int(k) < len(names) && k != 0 {
		return names[k]
	}
	return "Unknown"
}

// Shape is one type of the service model with its constraints. Shapes are shared and must not be changed.
type Shape struct {
	Name string
	Kind Kind

	// Min and Max bound the value of a number, the length of a string in Unicode code points, the length of a blob in
	// bytes, and the number of elements of a list; nil is unbounded.
	Min, Max *int64

	Pattern *Pattern // what a string must match as a whole; nil is anything
	Enum    []string // the values a string may have; nil is any
	Members []Member // of a structure, in model order, which is also the order of the Go struct's fields
	Key     *Shape   // of a map
	Elem    *Shape   // of a list's elements or a map's values
}

// Member is one member of a structure; Name is its name on the wire.
type Member struct {
	Name     string
	Shape    *Shape
	Required bool
}

// Pattern is a regular expression of the service model. The model's patterns apply to a whole value.
type Pattern struct {
	Text string // as the model writes it
	re   *regexp.Regexp
}

// newPattern compiles a pattern of the generated table; a pattern that RE2 does not know is a mistake of the generator.
func newPattern(text string) *Pattern {
	return &Pattern{Text: text, re: regexp.MustCompile(`^(?:` + text + `)$`)}
}

// Match reports whether the whole of s satisfies the pattern.
func (p *Pattern) Match(s string) bool { return p.re.MatchString(s) }
