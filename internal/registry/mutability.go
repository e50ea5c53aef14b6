package registry

import (
	"context"
	"regexp"
	"strings"

	"berth/internal/meta"
)

// Modes of tag mutability (API_PutImageTagMutability).
const (
	Mutable                = "MUTABLE"
	Immutable              = "IMMUTABLE"
	MutableWithExclusion   = "MUTABLE_WITH_EXCLUSION"
	ImmutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION"
)

const (
	maxMutabilityFilters = 5
	maxFilterWildcards   = 2
)

// Mutability says which tags may move. Filters are wildcards over whole tags,
// for the modes WITH_EXCLUSION only; they name the tags of which the opposite
// is true.
type Mutability struct {
	Mode    string // empty means MUTABLE
	Filters []string
}

var filterPattern = regexp.MustCompile(`^[0-9a-zA-Z._*-]{1,128}$`)

func (m Mutability) normalise() (Mutability, error) {
	const member = "imageTagMutabilityExclusionFilters"
	switch m.Mode {
	case "":
		m.Mode = Mutable
	case Mutable, Immutable, MutableWithExclusion, ImmutableWithExclusion:
	default:
		return m, invalid("imageTagMutability", "Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]")
	}
	exclusion := m.Mode == MutableWithExclusion || m.Mode == ImmutableWithExclusion
	switch {
	case exclusion && len(m.Filters) == 0:
		return m, invalid(member, "ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as "+m.Mode)
	case !exclusion && len(m.Filters) > 0:
		return m, invalid(member, "ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as "+m.Mode)
	case len(m.Filters) > maxMutabilityFilters:
		return m, invalid(member, "Member must have length less than or equal to 5")
	}
	for _, f := range m.Filters {
		if !filterPattern.MatchString(f) {
			return m, invalid(member, "Member must satisfy regular expression pattern: ^[0-9a-zA-Z._*-]{1,128}$")
		}
		if strings.Count(f, "*") > maxFilterWildcards {
			return m, invalid(member, "Filter must not have more than 2 wildcards")
		}
	}
	return m, nil
}

// SetMutability replaces the mode and the filters. It decides about later
// pushes; tags that exist are not touched.
func (r *Registry) SetMutability(ctx context.Context, s meta.Scope, name string, m Mutability) (Repository, error) {
	m, err := m.normalise()
	if err != nil {
		return Repository{}, err
	}
	return r.save(ctx, s, name, func(repo *meta.Repository) error {
		repo.Mutability, repo.MutabilityFilters = m.Mode, m.Filters
		return nil
	})
}

// mayMove reports whether an existing tag of the repository may be moved.
func mayMove(repo meta.Repository, tag string) bool {
	excluded := false
	for _, f := range repo.MutabilityFilters {
		excluded = excluded || matchWildcard(f, tag)
	}
	switch repo.Mutability {
	case Immutable:
		return false
	case ImmutableWithExclusion:
		return excluded
	case MutableWithExclusion:
		return !excluded
	default:
		return true
	}
}

// matchWildcard matches all of s, with * for any run of characters.
func matchWildcard(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[last])
}
