package iamapi

import (
	"maps"
	"slices"

	"berth/internal/meta"
)

func createProvider(c *call) (any, error) {
	tags, err := c.tags()
	if err != nil {
		return nil, err
	}
	p, err := c.Store.CreateOIDCProvider(c.ctx, meta.OIDCProvider{
		Account: c.caller.Account, URL: c.form.Get("Url"), ClientIDs: c.members("ClientIDList"),
		Thumbprints: c.members("ThumbprintList"), Tags: tags,
	})
	return struct {
		OpenIDConnectProviderArn string
		Tags                     *list[tagXML] `xml:",omitempty"`
	}{p.ARN, tagList(p.Tags)}, err
}

func (c *call) provider() (meta.OIDCProvider, error) {
	return c.Store.OIDCProvider(c.ctx, c.caller.Account, c.form.Get("OpenIDConnectProviderArn"))
}

func getProvider(c *call) (any, error) {
	p, err := c.provider()
	return struct {
		URL            string `xml:"Url"`
		ClientIDList   list[string]
		ThumbprintList list[string]
		CreateDate     string
		Tags           *list[tagXML] `xml:",omitempty"`
	}{p.URL, list[string]{p.ClientIDs}, list[string]{p.Thumbprints}, stamp(p.CreatedAt), tagList(p.Tags)}, err
}

func listProviders(c *call) (any, error) {
	all, err := c.Store.OIDCProviders(c.ctx, c.caller.Account)
	type entry struct{ Arn string }
	return struct{ OpenIDConnectProviderList list[entry] }{
		listOf(all, func(p meta.OIDCProvider) entry { return entry{p.ARN} }),
	}, err
}

func deleteProvider(c *call) (any, error) {
	return nil, c.Store.DeleteOIDCProvider(c.ctx, c.caller.Account, c.form.Get("OpenIDConnectProviderArn"))
}

// changeProvider changes the provider of a request.
func (c *call) changeProvider(change func(p *meta.OIDCProvider)) error {
	return c.Store.ChangeOIDCProvider(c.ctx, c.caller.Account, c.form.Get("OpenIDConnectProviderArn"), change)
}

func updateThumbprints(c *call) (any, error) {
	return nil, c.changeProvider(func(p *meta.OIDCProvider) { p.Thumbprints = c.members("ThumbprintList") })
}

func addClient(c *call) (any, error) {
	id, err := c.need("ClientID")
	if err != nil {
		return nil, err
	}
	return nil, c.changeProvider(func(p *meta.OIDCProvider) {
		if !slices.Contains(p.ClientIDs, id) {
			p.ClientIDs = append(p.ClientIDs, id)
		}
	})
}

func removeClient(c *call) (any, error) {
	id, err := c.need("ClientID")
	if err != nil {
		return nil, err
	}
	return nil, c.changeProvider(func(p *meta.OIDCProvider) {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(other string) bool { return other == id })
	})
}

func tagProvider(c *call) (any, error) {
	tags, err := c.tags()
	if err != nil {
		return nil, err
	}
	return nil, c.changeProvider(func(p *meta.OIDCProvider) { maps.Copy(p.Tags, tags) })
}

func untagProvider(c *call) (any, error) {
	return nil, c.changeProvider(func(p *meta.OIDCProvider) {
		for _, k := range c.members("TagKeys") {
			delete(p.Tags, k)
		}
	})
}

func listProviderTags(c *call) (any, error) {
	p, err := c.provider()
	if err != nil {
		return nil, err
	}
	return tagPage(c, p.Tags)
}
