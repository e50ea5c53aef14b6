package kmsapi

import (
	"strings"

	"berth/internal/ecr"
	"berth/internal/kms/local"
)

func createAlias(in *input) action {
	return setAlias(in, func(c *call, alias, arn string) error { return c.kms.CreateAlias(c.ctx, c.scope, alias, arn) })
}

// updateAlias asks for the key that the alias leaves, too (KMS Developer Guide,
// "Controlling access to aliases").
func updateAlias(in *input) action {
	a := setAlias(in, func(c *call, alias, arn string) error { return c.kms.UpdateAlias(c.ctx, c.scope, alias, arn) })
	a.keys = append(a.keys, present(a.aliases[0])...)
	return a
}

// present is the alias as the name of the key that it leads to, if it can be one.
func present(alias string) []string {
	if !strings.HasPrefix(alias, "alias/") || strings.Contains(alias, ":") || alias == "alias/" {
		return nil // the service refuses it
	}
	return []string{alias}
}

func setAlias(in *input, set func(c *call, alias, arn string) error) action {
	alias, key := in.alias("AliasName"), in.key("TargetKeyId")
	if strings.HasPrefix(key, "alias/") || strings.Contains(key, ":alias/") {
		in.refuse(invalid("Aliases must refer to keys. Not aliases"))
	}
	return action{keys: []string{key}, aliases: []string{alias}, run: func(c *call) (any, error) {
		return nil, set(c, alias, c.arns[0])
	}}
}

func deleteAlias(in *input) action {
	alias := in.alias("AliasName")
	return action{keys: present(alias), aliases: []string{alias}, run: func(c *call) (any, error) {
		return nil, c.kms.DeleteAlias(c.ctx, c.scope, alias)
	}}
}

// aliasEntry is AliasListEntry (KMS API reference).
type aliasEntry struct {
	AliasName       string
	AliasArn        string
	TargetKeyID     string `json:"TargetKeyId"`
	CreationDate    ecr.Time
	LastUpdatedDate ecr.Time
}

type aliasesAnswer struct {
	Aliases    []aliasEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func listAliases(in *input) action {
	w := in.window("aliases", 50, 100)
	a := action{everything: true}
	if key := in.text("KeyId", false, 1, 2048); key != "" {
		a.keys = []string{key}
	}
	a.run = func(c *call) (any, error) {
		arn := ""
		if len(c.arns) > 0 {
			arn = c.arns[0]
		}
		list, more, err := c.kms.Aliases(c.ctx, c.scope, arn, w.after, w.limit)
		out := aliasesAnswer{Aliases: []aliasEntry{}, Truncated: more}
		for _, l := range list {
			_, id, _ := strings.Cut(l.ARN, ":key/")
			out.Aliases = append(out.Aliases, aliasEntry{l.Name, local.AliasARN(l), id, ecr.At(l.CreatedAt), ecr.At(l.UpdatedAt)})
			out.NextMarker = w.next(more, l.Name)
		}
		return out, err
	}
	return a
}
