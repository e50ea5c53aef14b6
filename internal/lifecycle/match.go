package lifecycle

import "strings"

// A matcher is the selection of a rule, but for its count, ready for many images.
type matcher struct {
	status   TagStatus
	class    StorageClass
	patterns [][]string // each is what stands between the stars
}

func newMatcher(s Selection) matcher {
	m := matcher{status: s.TagStatus, class: s.StorageClass}
	for _, p := range s.TagPatterns {
		m.patterns = append(m.patterns, strings.Split(p, "*"))
	}
	for _, p := range s.TagPrefixes {
		m.patterns = append(m.patterns, []string{p, ""})
	}
	return m
}

// matches tells whether the rule looks at an image, whatever its age: every
// pattern must match a tag, and different patterns may match different tags.
func (m *matcher) matches(i *Image) bool {
	if class, ok := i.class(); !ok || class != m.class || i.Subject != "" {
		return false
	}
	switch m.status {
	case Untagged:
		return len(i.Tags) == 0
	case Tagged:
		for _, p := range m.patterns {
			if !anyTag(p, i.Tags) {
				return false
			}
		}
		return len(i.Tags) > 0
	}
	return true
}

func anyTag(pattern, tags []string) bool {
	for _, t := range tags {
		if wildcard(pattern, t) {
			return true
		}
	}
	return false
}

// wildcard matches a whole text with a pattern whose stars stand for any run of
// characters; parts are what is between them.
func wildcard(parts []string, text string) bool {
	if len(parts) == 1 {
		return text == parts[0]
	}
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, p := range parts[1 : len(parts)-1] {
		at := strings.Index(text, p)
		if at < 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return strings.HasSuffix(text, last)
}
