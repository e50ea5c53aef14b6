package iamapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/iam"
	"berth/internal/meta"
)

// maxMembers bounds lists in requests.
const maxMembers = 1000

// need reads a member that must be there; the name of it in errors begins in lower case.
func (c *call) need(member string) (string, error) {
	v := c.form.Get(member)
	if v == "" {
		return "", iam.Constraint(lower(member), "null", "Member must not be null")
	}
	return v, nil
}

func lower(member string) string { return strings.ToLower(member[:1]) + member[1:] }

// members reads a list: Name.member.1, Name.member.2, ….
func (c *call) members(name string) (out []string) {
	for i := 1; i <= maxMembers; i++ {
		key := fmt.Sprintf("%s.member.%d", name, i)
		if !c.form.Has(key) {
			break
		}
		out = append(out, c.form.Get(key))
	}
	return out
}

// tags reads Tags.member.N.Key and Value.
func (c *call) tags() (map[string]string, error) {
	out := map[string]string{}
	for i := 1; i <= maxMembers; i++ {
		member := fmt.Sprintf("Tags.member.%d.", i)
		if !c.form.Has(member + "Key") {
			break
		}
		key := c.form.Get(member + "Key")
		if _, twice := out[key]; twice {
			return nil, &iam.Error{Status: 400, Code: iam.CodeInvalidInput, Message: "Duplicate tag keys found. Please note that Tag keys are case insensitive."}
		}
		out[key] = c.form.Get(member + "Value")
	}
	return out, nil
}

// number reads an integer; 0 when it is absent.
func (c *call) number(member string) (int, error) {
	text := c.form.Get(member)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || n > 1<<30 {
		return 0, iam.Invalid("The value '%.64s' of %s is not a positive integer.", text, member)
	}
	return n, nil
}

func (c *call) seconds(member string) (time.Duration, error) {
	n, err := c.number(member)
	return time.Duration(n) * time.Second, err
}

// ref names the user or role of a request.
func (c *call) ref(kind string) (iam.Ref, error) {
	member := "UserName"
	if kind == meta.KindRole {
		member = "RoleName"
	}
	name, err := c.need(member)
	return iam.Ref{Kind: kind, Account: c.caller.Account, Name: name}, err
}

// owner is whose access keys a request is about.
func (c *call) owner() (iam.Owner, error) {
	return c.Store.KeyOwner(c.ctx, c.caller, c.form.Get("UserName"))
}

// A page is a part of a list.
type page struct {
	IsTruncated bool
	Marker      string `xml:",omitempty"`
}

// paged cuts a page out of a sorted list; name is unique in it. A marker is the
// name of the last element of the page before.
func paged[T any](c *call, all []T, name func(T) string) ([]T, page, error) {
	size, err := c.number("MaxItems")
	if err != nil {
		return nil, page{}, err
	}
	if size == 0 {
		size = 100
	}
	if size > maxMembers {
		return nil, page{}, iam.Constraint("maxItems", strconv.Itoa(size), "Member must have value less than or equal to 1000")
	}
	if after := c.form.Get("Marker"); after != "" {
		i := slices.IndexFunc(all, func(v T) bool { return name(v) > after })
		if i < 0 {
			i = len(all)
		}
		all = all[i:]
	}
	if len(all) <= size {
		return all, page{}, nil
	}
	all = all[:size]
	return all, page{true, name(all[size-1])}, nil
}

// Resources: what an operation acts on.

func everything(*call) (string, error) { return "*", nil }

// named is the user or role of a request, by its whole ARN when it exists.
func named(kind string) func(*call) (string, error) {
	return func(c *call) (string, error) {
		ref, err := c.ref(kind)
		if err != nil {
			return "", err
		}
		p, err := c.Store.Principal(c.ctx, ref)
		if _, refused := err.(*iam.Error); refused { // the operation will tell, if the caller may know
			return iam.ARN(meta.IAMPrincipal{Account: ref.Account, Kind: kind, Path: "/", Name: ref.Name}), nil
		}
		return iam.ARN(p), err
	}
}

// own is the user of a request, or without one the caller.
func own(c *call) (string, error) {
	if c.form.Get("UserName") == "" {
		return c.caller.ARN, nil
	}
	return named(meta.KindUser)(c)
}

// made is the user or role that a request makes.
func made(kind string) func(*call) (string, error) {
	return func(c *call) (string, error) {
		ref, err := c.ref(kind)
		return iam.ARN(meta.IAMPrincipal{Account: ref.Account, Kind: kind, Path: c.path(), Name: ref.Name}), err
	}
}

// every is all users or roles below the path of a request.
func every(kind string) func(*call) (string, error) {
	return func(c *call) (string, error) {
		prefix := c.form.Get("PathPrefix")
		if prefix == "" {
			prefix = "/"
		}
		return "arn:aws:iam::" + c.caller.Account + ":" + kind + prefix, nil
	}
}

func (c *call) path() string {
	if p := c.form.Get("Path"); p != "" {
		return p
	}
	return "/"
}

func policyARN(c *call) (string, error) { return c.need("PolicyArn") }

func madePolicy(c *call) (string, error) {
	name, err := c.need("PolicyName")
	return "arn:aws:iam::" + c.caller.Account + ":policy" + c.path() + name, err
}

func providerARN(c *call) (string, error) { return c.need("OpenIDConnectProviderArn") }

func madeProvider(c *call) (string, error) {
	url, err := c.need("Url")
	return "arn:aws:iam::" + c.caller.Account + ":oidc-provider/" + strings.TrimPrefix(url, "https://"), err
}
