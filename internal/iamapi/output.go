package iamapi

import (
	"encoding/xml"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/internal/iam"
	"berth/internal/meta"
)

// A list is an element with members; an empty one is there too.
type list[T any] struct {
	Member []T `xml:"member"`
}

func listOf[S, T any](from []S, to func(S) T) list[T] {
	out := list[T]{make([]T, 0, len(from))}
	for _, v := range from {
		out.Member = append(out.Member, to(v))
	}
	return out
}

func asText(s string) string { return s }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// encoded is how policies are answered: URL-encoded (IAM API reference, GetUserPolicy).
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

type tagXML struct{ Key, Value string }

func tagsXML(tags map[string]string) []tagXML {
	out := make([]tagXML, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, tagXML{k, tags[k]})
	}
	return out
}

// tagList is a list of tags that is left out when there are none.
func tagList(tags map[string]string) *list[tagXML] {
	if len(tags) == 0 {
		return nil
	}
	return &list[tagXML]{tagsXML(tags)}
}

type boundaryXML struct {
	PermissionsBoundaryType string
	PermissionsBoundaryArn  string
}

func boundary(arn string) *boundaryXML {
	if arn == "" {
		return nil
	}
	return &boundaryXML{"Policy", arn}
}

// userXML is a user. A root user has no name and no path.
type userXML struct {
	Path                string `xml:",omitempty"`
	UserName            string `xml:",omitempty"`
	UserID              string `xml:"UserId"`
	Arn                 string
	CreateDate          string
	PermissionsBoundary *boundaryXML  `xml:",omitempty"`
	Tags                *list[tagXML] `xml:",omitempty"`
}

func toUser(p meta.IAMPrincipal) userXML {
	return userXML{p.Path, p.Name, p.ID, iam.ARN(p), stamp(p.CreatedAt), boundary(p.Boundary), tagList(p.Tags)}
}

type roleXML struct {
	Path                     string
	RoleName                 string
	RoleID                   string `xml:"RoleId"`
	Arn                      string
	CreateDate               string
	AssumeRolePolicyDocument string
	Description              string `xml:",omitempty"`
	MaxSessionDuration       int
	PermissionsBoundary      *boundaryXML  `xml:",omitempty"`
	Tags                     *list[tagXML] `xml:",omitempty"`
}

func toRole(p meta.IAMPrincipal) roleXML {
	return roleXML{
		p.Path, p.Name, p.ID, iam.ARN(p), stamp(p.CreatedAt), encoded(p.TrustPolicy), p.Description, int(p.MaxSession.Seconds()),
		boundary(p.Boundary), tagList(p.Tags),
	}
}

// listed is a user or role in a list, which shows neither tags nor boundaries
// (IAM API reference, ListUsers and ListRoles).
func listed(p meta.IAMPrincipal) meta.IAMPrincipal {
	p.Tags, p.Boundary = nil, ""
	return p
}

// nothing answers an empty list of that name.
func nothing(name string) func(*call) (any, error) {
	return func(*call) (any, error) { return emptyList(name), nil }
}

// An emptyList is the name of the list.
type emptyList string

// MarshalXML implements xml.Marshaler.
func (l emptyList) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if err := e.EncodeElement("", xml.StartElement{Name: xml.Name{Local: string(l)}}); err != nil {
		return err
	}
	if err := e.EncodeElement(false, xml.StartElement{Name: xml.Name{Local: "IsTruncated"}}); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}
