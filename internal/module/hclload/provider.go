package hclload

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// Provider holds the settings of the default provider "aws" that concern which registry is managed, and how. Empty
// fields are not set.
type Provider struct {
	Region          string
	Profile         string
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	ECREndpoint     string
	STSEndpoint     string
	DefaultTags     map[string]string
	AllowedAccounts []string // nil: any
}

// providerSettings are the string attributes that are followed.
func (p *Provider) field(name string) *string {
	switch name {
	case "region":
		return &p.Region
	case "profile":
		return &p.Profile
	case "access_key":
		return &p.AccessKeyID
	case "secret_key":
		return &p.SecretAccessKey
	case "token":
		return &p.SessionToken
	}
	return nil
}

// withoutEffect are attributes about how the provider talks to AWS that change nothing of what is managed.
func withoutEffect(name string) bool {
	switch name {
	case "skip_credentials_validation", "skip_metadata_api_check", "skip_region_validation", "skip_requesting_account_id",
		"max_retries", "retry_mode", "s3_use_path_style", "insecure", "version", "alias":
		return true
	}
	return false
}

func (r *Root) addProvider(b *hcl.Block) hcl.Diagnostics {
	if b.Labels[0] != "aws" {
		return nil // nothing of another provider is managed here
	}
	attrs, _, diags := b.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "alias"}}})
	if diags.HasErrors() {
		return diags
	}
	if attrs.Attributes["alias"] != nil {
		return nil // used by nothing: a module that is given it is refused
	}
	if r.provider != nil {
		return hcl.Diagnostics{problem(b.DefRange, "provider \"aws\" is configured twice: give one of the blocks an alias")}
	}
	r.provider = b
	return nil
}

// evalProvider evaluates the default provider block.
func (r *Root) evalProvider(ctx *hcl.EvalContext) (Provider, hcl.Diagnostics) {
	var p Provider
	if r.provider == nil {
		return p, nil
	}
	// JustAttributes complains about blocks even after they were taken out, so the syntax tree is read directly; the
	// native syntax is the only one that gets here.
	body, ok := r.provider.Body.(*hclsyntax.Body)
	if !ok {
		return p, hcl.Diagnostics{problem(r.provider.DefRange, "provider \"aws\" is not written in the native syntax of HCL")}
	}
	var diags hcl.Diagnostics
	for _, syntax := range body.Blocks {
		switch b := syntax.AsHCLBlock(); b.Type {
		case "default_tags":
			diags = append(diags, p.defaultTags(b, ctx)...)
		case "endpoints":
			diags = append(diags, p.endpoints(b, ctx)...)
		default:
			diags = append(diags, problem(b.DefRange, "%s of provider \"aws\" is not supported: use a profile of the AWS configuration that does it, or terraform", b.Type))
		}
	}
	attrs := hcl.Attributes{}
	for name, attr := range body.Attributes {
		attrs[name] = attr.AsHCLAttribute()
	}
	for _, attr := range sortedAttributes(attrs) {
		target := p.field(attr.Name)
		switch {
		case target != nil:
			diags = append(diags, setString(target, attr, ctx)...)
		case attr.Name == "allowed_account_ids":
			diags = append(diags, p.allowed(attr, ctx)...)
		case !withoutEffect(attr.Name):
			diags = append(diags, problem(attr.NameRange, "%s of provider \"aws\" is not supported: use the environment or the AWS configuration files instead, or terraform", attr.Name))
		}
	}
	return p, diags
}

// setString evaluates a setting. A value that depends on data sources stays empty.
func setString(target *string, attr *hcl.Attribute, ctx *hcl.EvalContext) hcl.Diagnostics {
	val, diags := attr.Expr.Value(ctx)
	if diags.HasErrors() {
		return diags
	}
	val, err := convert.Convert(val, cty.String)
	switch {
	case err != nil:
		return hcl.Diagnostics{problem(attr.Expr.Range(), "%s must be a text", attr.Name)}
	case !val.IsKnown():
		return hcl.Diagnostics{problem(attr.Expr.Range(), "%s of provider \"aws\" must not depend on a data source or a module", attr.Name)}
	case !val.IsNull():
		*target = val.AsString()
	}
	return nil
}

func (p *Provider) defaultTags(b *hcl.Block, ctx *hcl.EvalContext) hcl.Diagnostics {
	attrs, diags := b.Body.JustAttributes()
	for _, attr := range sortedAttributes(attrs) {
		if attr.Name != "tags" {
			diags = append(diags, problem(attr.NameRange, "default_tags has no attribute %q%s", attr.Name, suggest(attr.Name, []string{"tags"})))
			continue
		}
		val, more := attr.Expr.Value(ctx)
		diags = append(diags, more...)
		if more.HasErrors() {
			continue
		}
		val, err := convert.Convert(val, cty.Map(cty.String))
		if err != nil || !val.IsWhollyKnown() {
			diags = append(diags, problem(attr.Expr.Range(), "tags of default_tags must be a map of known texts"))
			continue
		}
		p.DefaultTags = map[string]string{}
		if val.IsNull() {
			continue
		}
		for name, v := range val.AsValueMap() {
			if !v.IsNull() {
				p.DefaultTags[name] = v.AsString()
			}
		}
	}
	return diags
}

func (p *Provider) endpoints(b *hcl.Block, ctx *hcl.EvalContext) hcl.Diagnostics {
	attrs, diags := b.Body.JustAttributes()
	for _, attr := range sortedAttributes(attrs) {
		switch attr.Name {
		case "ecr":
			diags = append(diags, setString(&p.ECREndpoint, attr, ctx)...)
		case "sts":
			diags = append(diags, setString(&p.STSEndpoint, attr, ctx)...)
		}
		// Endpoints of other services are of no use here, because no other service is called.
	}
	return diags
}

func (p *Provider) allowed(attr *hcl.Attribute, ctx *hcl.EvalContext) hcl.Diagnostics {
	val, diags := attr.Expr.Value(ctx)
	if diags.HasErrors() {
		return diags
	}
	val, err := convert.Convert(val, cty.Set(cty.String))
	if err != nil || !val.IsWhollyKnown() {
		return hcl.Diagnostics{problem(attr.Expr.Range(), "allowed_account_ids must be a list of known texts")}
	}
	if val.IsNull() {
		return nil
	}
	p.AllowedAccounts = []string{}
	for _, v := range val.AsValueSlice() {
		if !v.IsNull() {
			p.AllowedAccounts = append(p.AllowedAccounts, v.AsString())
		}
	}
	slices.Sort(p.AllowedAccounts)
	return nil
}
