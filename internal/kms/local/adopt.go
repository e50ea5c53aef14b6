package local

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"berth/internal/meta"
)

// Adopt gives the ARN of the key that a repository of a scope was made with,
// by whichever name, when nobody checked yet that there is one. A key or alias
// that does not exist is made; made tells so. The state of one that exists
// does not matter.
func (k *KMS) Adopt(ctx context.Context, s meta.Scope, text string) (arn string, made bool, err error) {
	if text == "" {
		text = ECRAlias
	}
	n, err := k.patterns.parse(s, text)
	if err != nil {
		return "", false, err
	}
	key, err := k.find(ctx, n)
	if !isAbsent(err) {
		return key.ARN, false, err
	}
	switch {
	case n.alias == ECRAlias:
		key, err = k.createManaged(ctx, n)
	case n.alias != "":
		key = k.newKey(n.scope, uuid.NewString())
		key.Description = "Created because a configuration named it"
		if err = k.insert(ctx, key, n.alias); err == nil || errors.Is(err, meta.ErrExists) {
			key, err = k.find(ctx, n)
		}
	default:
		key, err = k.createMissing(ctx, n, s.Account)
	}
	return key.ARN, err == nil, err
}
