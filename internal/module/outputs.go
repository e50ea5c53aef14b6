package module

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"berth/internal/module/desired"
	"berth/internal/module/hclload"
	"berth/internal/module/live"
	"berth/internal/module/render"
)

// moduleOutputs computes the six outputs of the module, as outputs.tf does, from the repositories that exist.
func moduleOutputs(m desired.Module, found map[string]live.Repository, pending map[string]bool, facts hclload.Facts) cty.Value {
	urls, arns, ids := map[string]cty.Value{}, map[string]cty.Value{}, map[string]cty.Value{}
	login := cty.UnknownVal(cty.String)
	for _, name := range slices.Sorted(maps.Keys(m.Repositories)) {
		repo, exists := found[name]
		switch {
		case pending[name]:
			urls[name], arns[name], ids[name] = cty.UnknownVal(cty.String), cty.UnknownVal(cty.String), cty.UnknownVal(cty.String)
		case exists:
			urls[name], arns[name], ids[name] = cty.StringVal(repo.URI), cty.StringVal(repo.ARN), cty.StringVal(repo.RegistryID)
			if !login.IsKnown() {
				login = cty.StringVal(loginCommand(regionOf(repo.ARN), hostOfURI(repo.URI)))
			}
		}
	}
	if len(urls) == 0 && facts != (hclload.Facts{}) {
		host := fmt.Sprintf("%s.dkr.ecr.%s.%s", facts.AccountID, facts.Region, facts.DNSSuffix)
		login = cty.StringVal(loginCommand(facts.Region, host))
	}
	urlOf := func(name string) cty.Value {
		if url, ok := urls[name]; ok {
			return url
		}
		return cty.NullVal(cty.String)
	}
	return cty.ObjectVal(map[string]cty.Value{
		"repository_urls": cty.ObjectVal(urls), "repository_arns": cty.ObjectVal(arns), "repository_registry_ids": cty.ObjectVal(ids),
		"flowise_server_url": urlOf("flowise-server"), "flowise_ui_url": urlOf("flowise-ui"), "docker_login_command": login,
	})
}

func loginCommand(region, host string) string {
	return fmt.Sprintf("aws ecr get-login-password --region %s | docker login --username AWS --password-stdin %s", region, host)
}

// hostOfURI is the registry in a repository URI, HOST/NAME.
func hostOfURI(uri string) string {
	host, _, _ := strings.Cut(uri, "/")
	return host
}

// regionOf is the region in arn:aws:ecr:REGION:ACCOUNT:repository/NAME.
func regionOf(arn string) string {
	if parts := strings.Split(arn, ":"); len(parts) > 3 {
		return parts[3]
	}
	return ""
}

// Outputs are the outputs of a configuration, read from the repositories that exist.
type Outputs struct {
	list []render.Output
}

// Outputs reads the outputs that the root exports; when it exports none, those of the module.
func (s *Stack) Outputs(ctx context.Context, c *Client) (Outputs, error) {
	st, err := s.resolve(ctx, c)
	if err != nil {
		return Outputs{}, err
	}
	found, err := live.List(ctx, c.ecr)
	if err != nil {
		return Outputs{}, err
	}
	for _, m := range st.modules {
		none := !slices.ContainsFunc(slices.Collect(maps.Keys(m.Repositories)), func(name string) bool { _, ok := found[name]; return ok })
		if none && st.facts == (hclload.Facts{}) {
			if st.facts, err = c.identity(ctx); err != nil {
				return Outputs{}, err
			}
		}
	}
	list, err := s.currentOutputs(st, found)
	return Outputs{list: list}, err
}

// Names lists the outputs that have a value.
func (o Outputs) Names() []string {
	var names []string
	for _, out := range o.list {
		if !out.Value.IsNull() {
			names = append(names, out.Name)
		}
	}
	return names
}

// WriteText writes all outputs in the format of `terraform output`: without those that are null.
func (o Outputs) WriteText(w io.Writer) error { return render.Outputs(w, o.list) }

// MarshalJSON writes all outputs in the format of `terraform output -json`.
func (o Outputs) MarshalJSON() ([]byte, error) { return render.OutputsJSON(o.list) }

func (o Outputs) find(name string) (cty.Value, error) {
	for _, out := range o.list {
		if out.Name == name && !out.Value.IsNull() {
			return out.Value, nil
		}
	}
	names := o.Names()
	if len(names) == 0 {
		return cty.NilVal, fmt.Errorf("there is no output %q: the configuration has no outputs with a value", name)
	}
	return cty.NilVal, fmt.Errorf("there is no output %q: the outputs with a value are %s", name, strings.Join(names, ", "))
}

// Text returns one output in the notation of the language: a text has quotes.
func (o Outputs) Text(name string) (string, error) {
	v, err := o.find(name)
	if err != nil {
		return "", err
	}
	return render.Value(v), nil
}

// Raw returns one output, a text, a number or a bool, without quotes.
func (o Outputs) Raw(name string) (string, error) {
	v, err := o.find(name)
	if err != nil {
		return "", err
	}
	if ty := v.Type(); !ty.IsPrimitiveType() {
		return "", fmt.Errorf("output %q is not a text, a number or a bool: use --json", name)
	}
	text, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", fmt.Errorf("output %q cannot be written as a text: %w", name, err)
	}
	return text.AsString(), nil
}

// JSON returns one output as JSON.
func (o Outputs) JSON(name string) ([]byte, error) {
	v, err := o.find(name)
	if err != nil {
		return nil, err
	}
	return render.ValueJSON(v)
}
