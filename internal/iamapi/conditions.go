package iamapi

import (
	"errors"
	"strings"

	"berth/internal/access"
	"berth/internal/iam"
	"berth/internal/meta"
)

// asked is what the door asks about an operation: with all that conditions may
// look at, since one that looks for a value that is not told lets its statement
// pass (Service Authorization Reference, "Condition keys for AWS IAM").
func (c *call) asked(action, resource string) (access.Request, error) {
	tags, err := c.tags()
	if err != nil {
		return access.Request{}, err
	}
	q := access.Request{
		Principal: c.caller, Action: action, Resource: resource, ResourceAccount: c.caller.Account, Call: c.from,
		TagKeys: c.members("TagKeys"), ServiceKeys: map[string][]string{},
	}
	for k, v := range tags {
		q.Tags = append(q.Tags, access.Tag{Key: k, Value: v})
	}
	if _, name, _ := strings.Cut(action, ":"); strings.HasPrefix(name, "Attach") || strings.HasPrefix(name, "Detach") {
		q.ServiceKeys["iam:policyarn"] = c.one("PolicyArn")
	}
	q.ServiceKeys["iam:permissionsboundary"], err = c.boundary()
	return q, err
}

// one is the value of a member, if it has any.
func (c *call) one(member string) []string {
	if v := c.form.Get(member); v != "" {
		return []string{v}
	}
	return nil
}

// boundary is the permissions boundary that a request sets, or else that of the
// user or role that it is about.
func (c *call) boundary() ([]string, error) {
	if set := c.one("PermissionsBoundary"); set != nil {
		return set, nil
	}
	kind := meta.KindUser
	if c.form.Get("RoleName") != "" {
		kind = meta.KindRole
	} else if c.form.Get("UserName") == "" {
		return nil, nil
	}
	ref, err := c.ref(kind)
	if err != nil {
		return nil, err
	}
	p, err := c.Store.Principal(c.ctx, ref)
	var refused *iam.Error
	if errors.As(err, &refused) || err == nil && p.Boundary == "" {
		return nil, nil // the operation will tell that it does not exist, if the caller may know
	}
	return []string{p.Boundary}, err
}

// tagging is the operation that gives tags to what another one makes with tags,
// which the caller must be allowed too: tags decide in conditions (IAM User Guide,
// "Tags for AWS Identity and Access Management resources").
func tagging(operation string) string {
	switch operation {
	case "CreateUser", "CreateRole", "CreatePolicy", "CreateOpenIDConnectProvider":
		return "Tag" + strings.TrimPrefix(operation, "Create")
	}
	return ""
}
