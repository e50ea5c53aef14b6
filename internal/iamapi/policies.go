package iamapi

import (
	"fmt"

	"berth/internal/iam"
	"berth/internal/meta"
)

type policyXML struct {
	PolicyName                    string
	PolicyID                      string `xml:"PolicyId"`
	Arn                           string
	Path                          string
	DefaultVersionID              string `xml:"DefaultVersionId"`
	AttachmentCount               int
	PermissionsBoundaryUsageCount int
	IsAttachable                  bool
	Description                   string `xml:",omitempty"`
	CreateDate                    string
	UpdateDate                    string
	Tags                          *list[tagXML] `xml:",omitempty"`
}

func toPolicy(p iam.Managed) policyXML {
	return policyXML{
		p.Name, p.ID, p.ARN, p.Path, versionID(p.DefaultVersion), p.Attached, p.Bounds, true, p.Description,
		stamp(p.CreatedAt), stamp(p.UpdatedAt), tagList(p.Tags),
	}
}

func versionID(n int) string { return fmt.Sprintf("v%d", n) }

type policyResult struct{ Policy policyXML }

func createPolicy(c *call) (any, error) {
	tags, err := c.tags()
	if err != nil {
		return nil, err
	}
	p, err := c.Store.CreatePolicy(c.ctx, meta.IAMPolicy{
		Account: c.caller.Account, Name: c.form.Get("PolicyName"), Path: c.path(), Description: c.form.Get("Description"), Tags: tags,
	}, c.form.Get("PolicyDocument"))
	return policyResult{toPolicy(iam.Managed{IAMPolicy: p})}, err
}

// managed finds the policy of a request.
func (c *call) managed() (iam.Managed, error) {
	return c.Store.Policy(c.ctx, c.caller.Account, c.form.Get("PolicyArn"))
}

func getManaged(c *call) (any, error) {
	p, err := c.managed()
	return policyResult{toPolicy(p)}, err
}

func listPolicies(c *call) (any, error) {
	scope := c.form.Get("Scope")
	switch scope {
	case "", "All", "AWS", "Local":
	default:
		return nil, iam.Constraint("scope", scope, "Member must satisfy enum value set: [All, AWS, Local]")
	}
	all, err := c.Store.ListPolicies(c.ctx, c.caller.Account, scope != "Local", scope != "AWS")
	if err != nil {
		return nil, err
	}
	if c.form.Get("OnlyAttached") == "true" {
		var used []iam.Managed
		for _, p := range all {
			if p.Attached > 0 {
				used = append(used, p)
			}
		}
		all = used
	}
	some, p, err := paged(c, all, func(p iam.Managed) string { return p.ARN })
	return struct {
		Policies list[policyXML]
		page
	}{listOf(some, func(p iam.Managed) policyXML {
		p.Tags, p.Description = nil, "" // lists leave them out (IAM API reference, ListPolicies)
		return toPolicy(p)
	}), p}, err
}

func deleteManaged(c *call) (any, error) {
	return nil, c.Store.DeletePolicy(c.ctx, c.caller.Account, c.form.Get("PolicyArn"))
}

type versionXML struct {
	Document         string `xml:",omitempty"`
	VersionID        string `xml:"VersionId"`
	IsDefaultVersion bool
	CreateDate       string
}

type versionResult struct{ PolicyVersion versionXML }

func createVersion(c *call) (any, error) {
	current := c.form.Get("SetAsDefault") == "true"
	v, err := c.Store.CreatePolicyVersion(c.ctx, c.caller.Account, c.form.Get("PolicyArn"), c.form.Get("PolicyDocument"), current)
	return versionResult{versionXML{VersionID: versionID(v.Number), IsDefaultVersion: current, CreateDate: stamp(v.CreatedAt)}}, err
}

func getVersion(c *call) (any, error) {
	id, err := c.need("VersionId")
	if err != nil {
		return nil, err
	}
	v, current, err := c.Store.PolicyVersion(c.ctx, c.caller.Account, c.form.Get("PolicyArn"), id)
	return versionResult{versionXML{encoded(v.Document), versionID(v.Number), current, stamp(v.CreatedAt)}}, err
}

func listVersions(c *call) (any, error) {
	all, current, err := c.Store.PolicyVersions(c.ctx, c.caller.Account, c.form.Get("PolicyArn"))
	return struct {
		Versions list[versionXML]
		page
	}{Versions: listOf(all, func(v meta.PolicyVersion) versionXML {
		return versionXML{VersionID: versionID(v.Number), IsDefaultVersion: v.Number == current, CreateDate: stamp(v.CreatedAt)}
	})}, err
}

func setDefaultVersion(c *call) (any, error) {
	id, err := c.need("VersionId")
	if err != nil {
		return nil, err
	}
	return nil, c.Store.SetDefaultPolicyVersion(c.ctx, c.caller.Account, c.form.Get("PolicyArn"), id)
}

func deleteVersion(c *call) (any, error) {
	id, err := c.need("VersionId")
	if err != nil {
		return nil, err
	}
	return nil, c.Store.DeletePolicyVersion(c.ctx, c.caller.Account, c.form.Get("PolicyArn"), id)
}

func tagPolicy(c *call) (any, error) {
	tags, err := c.tags()
	if err != nil {
		return nil, err
	}
	return nil, c.Store.TagPolicy(c.ctx, c.caller.Account, c.form.Get("PolicyArn"), tags, nil)
}

func untagPolicy(c *call) (any, error) {
	return nil, c.Store.TagPolicy(c.ctx, c.caller.Account, c.form.Get("PolicyArn"), nil, c.members("TagKeys"))
}

func listPolicyTags(c *call) (any, error) {
	p, err := c.managed()
	if err != nil {
		return nil, err
	}
	return tagPage(c, p.Tags)
}
