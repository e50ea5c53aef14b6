package iamapi

import (
	"net/http"
	"strings"

	"berth/internal/iam"
	"berth/internal/meta"
)

type userResult struct{ User userXML }

func createUser(c *call) (any, error) {
	tags, err := c.tags()
	if err != nil {
		return nil, err
	}
	p, err := c.Store.Create(c.ctx, meta.IAMPrincipal{
		Kind: meta.KindUser, Account: c.caller.Account, Name: c.form.Get("UserName"), Path: c.path(), Tags: tags,
		Boundary: c.form.Get("PermissionsBoundary"),
	})
	return userResult{toUser(p)}, err
}

func getUser(c *call) (any, error) {
	name := c.form.Get("UserName")
	if name == "" && c.caller.IsRoot() {
		created, err := c.Store.UserCreated(c.ctx, c.caller)
		return userResult{userXML{UserID: c.caller.UserID, Arn: c.caller.ARN, CreateDate: stamp(created)}}, err
	}
	if name == "" {
		own, ok := iam.UserName(c.caller)
		if !ok {
			return nil, iam.Invalid("Must specify userName when calling with non-User credentials")
		}
		name = own
	}
	p, err := c.Store.Principal(c.ctx, iam.Ref{Kind: meta.KindUser, Account: c.caller.Account, Name: name})
	return userResult{toUser(p)}, err
}

func (c *call) principals(kind string) ([]meta.IAMPrincipal, page, error) {
	prefix := c.form.Get("PathPrefix")
	all, err := c.Store.Principals(c.ctx, kind, c.caller.Account, prefix)
	if err != nil {
		return nil, page{}, err
	}
	return paged(c, all, func(p meta.IAMPrincipal) string { return p.Name })
}

func listUsers(c *call) (any, error) {
	some, p, err := c.principals(meta.KindUser)
	return struct {
		Users list[userXML]
		page
	}{listOf(some, func(p meta.IAMPrincipal) userXML { return toUser(listed(p)) }), p}, err
}

func updateUser(c *call, ref iam.Ref) (any, error) {
	return nil, c.Store.UpdateUser(c.ctx, ref, c.form.Get("NewUserName"), c.form.Get("NewPath"))
}

// on is an operation on one user or role.
func on(kind string, do func(c *call, ref iam.Ref) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		ref, err := c.ref(kind)
		if err != nil {
			return nil, err
		}
		return do(c, ref)
	}
}

// onWith is on for an operation that needs a parameter too.
func onWith(kind, parameter string, do func(c *call, ref iam.Ref, value string) (any, error)) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		value, err := c.need(parameter)
		if err != nil {
			return nil, err
		}
		return do(c, ref, value)
	})
}

func remove(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		return nil, c.Store.Delete(c.ctx, ref)
	})
}

func tag(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		tags, err := c.tags()
		if err != nil {
			return nil, err
		}
		return nil, c.Store.Tag(c.ctx, ref, tags)
	})
}

func untag(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		return nil, c.Store.Untag(c.ctx, ref, c.members("TagKeys"))
	})
}

// tagsResult is the output of operations that list tags.
type tagsResult struct {
	Tags list[tagXML]
	page
}

// tagPage pages tags by their keys.
func tagPage(c *call, tags map[string]string) (any, error) {
	some, p, err := paged(c, tagsXML(tags), func(t tagXML) string { return t.Key })
	return tagsResult{list[tagXML]{some}, p}, err
}

func listTags(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		p, err := c.Store.Principal(c.ctx, ref)
		if err != nil {
			return nil, err
		}
		return tagPage(c, p.Tags)
	})
}

type keyXML struct {
	UserName        string `xml:",omitempty"`
	AccessKeyID     string `xml:"AccessKeyId"`
	Status          string
	SecretAccessKey string `xml:",omitempty"`
	CreateDate      string
}

func toKey(o iam.Owner) func(meta.AccessKey) keyXML {
	return func(k meta.AccessKey) keyXML {
		status := "Inactive"
		if k.Active {
			status = "Active"
		}
		return keyXML{UserName: o.Name, AccessKeyID: k.ID, Status: status, CreateDate: stamp(k.CreatedAt)}
	}
}

// ofOwner is an operation on the access keys of one user.
func ofOwner(do func(c *call, o iam.Owner) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		o, err := c.owner()
		if err != nil {
			return nil, err
		}
		return do(c, o)
	}
}

// onAccessKey is an operation on one access key.
func onAccessKey(do func(c *call, o iam.Owner, id string) (any, error)) func(*call) (any, error) {
	return ofOwner(func(c *call, o iam.Owner) (any, error) {
		id, err := c.need("AccessKeyId")
		if err != nil {
			return nil, err
		}
		return do(c, o, id)
	})
}

func createAccessKey(c *call, o iam.Owner) (any, error) {
	k, made, err := c.Store.CreateAccessKey(c.ctx, o)
	out := toKey(o)(k)
	out.SecretAccessKey = made.SecretAccessKey
	return struct{ AccessKey keyXML }{out}, err
}

func listAccessKeys(c *call, o iam.Owner) (any, error) {
	keys, err := c.Store.AccessKeys(c.ctx, o)
	return struct {
		AccessKeyMetadata list[keyXML]
		page
	}{AccessKeyMetadata: listOf(keys, toKey(o))}, err
}

func updateAccessKey(c *call, o iam.Owner, id string) (any, error) {
	status := c.form.Get("Status")
	if status != "Active" && status != "Inactive" {
		return nil, iam.Constraint("status", status, "Member must satisfy enum value set: [Active, Inactive]")
	}
	return nil, c.Store.SetAccessKey(c.ctx, o, id, status == "Active")
}

func deleteAccessKey(c *call, o iam.Owner, id string) (any, error) {
	return nil, c.Store.DeleteAccessKey(c.ctx, o, id)
}

// getAccessKeyLastUsed says what AWS says of a key whose use was not recorded.
func getAccessKeyLastUsed(c *call) (any, error) {
	id, err := c.need("AccessKeyId")
	if err != nil {
		return nil, err
	}
	o, err := c.Store.AccessKeyOwner(c.ctx, id)
	if err == nil && o.Account != c.caller.Account {
		err = &apiError{http.StatusForbidden, "AccessDenied", "The access key belongs to another account."}
	}
	type lastUsed struct{ ServiceName, Region string }
	return struct {
		UserName          string `xml:",omitempty"`
		AccessKeyLastUsed lastUsed
	}{o.Name, lastUsed{"N/A", "N/A"}}, err
}

// getLoginProfile says that a user has no password for a console, which there
// is not; so it also answers who wants to delete it.
func getLoginProfile(_ *call, o iam.Owner) (any, error) {
	return nil, &iam.Error{Status: http.StatusNotFound, Code: iam.CodeNoSuchEntity, Message: "Login Profile for User " + o.Name + " cannot be found."}
}

func putPolicy(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		return nil, c.Store.PutInlinePolicy(c.ctx, ref, c.form.Get("PolicyName"), c.form.Get("PolicyDocument"))
	})
}

func getPolicy(kind string) func(*call) (any, error) {
	return onWith(kind, "PolicyName", func(c *call, ref iam.Ref, name string) (any, error) {
		p, err := c.Store.InlinePolicy(c.ctx, ref, name)
		out := struct {
			UserName       string `xml:",omitempty"`
			RoleName       string `xml:",omitempty"`
			PolicyName     string
			PolicyDocument string
		}{PolicyName: p.Name, PolicyDocument: encoded(p.Document)}
		if kind == meta.KindRole {
			out.RoleName = ref.Name
		} else {
			out.UserName = ref.Name
		}
		return out, err
	})
}

func listInline(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		all, err := c.Store.InlinePolicies(c.ctx, ref)
		if err != nil {
			return nil, err
		}
		some, p, err := paged(c, all, func(p meta.NamedPolicy) string { return p.Name })
		return struct {
			PolicyNames list[string]
			page
		}{listOf(some, func(p meta.NamedPolicy) string { return p.Name }), p}, err
	})
}

func deletePolicy(kind string) func(*call) (any, error) {
	return onWith(kind, "PolicyName", func(c *call, ref iam.Ref, name string) (any, error) {
		return nil, c.Store.DeleteInlinePolicy(c.ctx, ref, name)
	})
}

func attach(kind string) func(*call) (any, error) {
	return withPolicy(kind, func(c *call, ref iam.Ref, arn string) error { return c.Store.Attach(c.ctx, ref, arn) })
}

func detach(kind string) func(*call) (any, error) {
	return withPolicy(kind, func(c *call, ref iam.Ref, arn string) error { return c.Store.Detach(c.ctx, ref, arn) })
}

func withPolicy(kind string, do func(*call, iam.Ref, string) error) func(*call) (any, error) {
	return onWith(kind, "PolicyArn", func(c *call, ref iam.Ref, arn string) (any, error) {
		if !strings.HasPrefix(arn, "arn:aws:iam::") {
			return nil, iam.Invalid("ARN %s is not valid.", arn)
		}
		return nil, do(c, ref, arn)
	})
}

type attachedXML struct{ PolicyName, PolicyArn string }

func listAttached(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		all, err := c.Store.Attachments(c.ctx, ref)
		if err != nil {
			return nil, err
		}
		some, p, err := paged(c, all, asText)
		return struct {
			AttachedPolicies list[attachedXML]
			page
		}{listOf(some, func(arn string) attachedXML { return attachedXML{arn[strings.LastIndexByte(arn, '/')+1:], arn} }), p}, err
	})
}

func putBoundary(kind string) func(*call) (any, error) {
	return onWith(kind, "PermissionsBoundary", func(c *call, ref iam.Ref, arn string) (any, error) {
		return nil, c.Store.SetBoundary(c.ctx, ref, arn)
	})
}

func deleteBoundary(kind string) func(*call) (any, error) {
	return on(kind, func(c *call, ref iam.Ref) (any, error) {
		return nil, c.Store.SetBoundary(c.ctx, ref, "")
	})
}

type roleResult struct{ Role roleXML }

func createRole(c *call) (any, error) {
	tags, err := c.tags()
	if err != nil {
		return nil, err
	}
	length, err := c.seconds("MaxSessionDuration")
	if err != nil {
		return nil, err
	}
	p, err := c.Store.Create(c.ctx, meta.IAMPrincipal{
		Kind: meta.KindRole, Account: c.caller.Account, Name: c.form.Get("RoleName"), Path: c.path(), Tags: tags,
		Boundary: c.form.Get("PermissionsBoundary"), Description: c.form.Get("Description"),
		TrustPolicy: c.form.Get("AssumeRolePolicyDocument"), MaxSession: length,
	})
	return roleResult{toRole(p)}, err
}

func getRole(c *call, ref iam.Ref) (any, error) {
	p, err := c.Store.Principal(c.ctx, ref)
	return roleResult{toRole(p)}, err
}

func listRoles(c *call) (any, error) {
	some, p, err := c.principals(meta.KindRole)
	return struct {
		Roles list[roleXML]
		page
	}{listOf(some, func(p meta.IAMPrincipal) roleXML { return toRole(listed(p)) }), p}, err
}

// empty is the result of an operation that answers one without members.
type empty struct{}

func updateRole(c *call, ref iam.Ref) (any, error) {
	var description *string
	if c.form.Has("Description") {
		text := c.form.Get("Description")
		description = &text
	}
	length, err := c.seconds("MaxSessionDuration")
	if err != nil {
		return nil, err
	}
	return empty{}, c.Store.UpdateRole(c.ctx, ref, description, length)
}

func updateTrust(c *call, ref iam.Ref) (any, error) {
	return nil, c.Store.SetTrustPolicy(c.ctx, ref, c.form.Get("PolicyDocument"))
}
