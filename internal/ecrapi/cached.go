package ecrapi

import (
	"context"
	"errors"

	"berth/internal/access"
	"berth/internal/ecr"
	"berth/internal/pullthrough"
	"berth/internal/registry"
)

// pullImages finds images of a repository, after it fetched from the upstream what
// is missing of a repository that has one. What the upstream did not give is a
// failure of its image, or of the request when there is no repository yet. at is
// the repository that has them: an official image of Docker Hub has two names.
//
// Source: API_BatchGetImage, errors and API_ImageFailure.
func (d *Door) pullImages(ctx context.Context, c call, name string, refs []registry.ImageRef) (found []registry.Manifest, failed []registry.Failure, at string, err error) {
	causes := map[registry.ImageRef]*registry.Error{}
	up, err := d.Registry.Upstream(ctx, c.scope, name)
	if err != nil {
		return nil, nil, name, err
	}
	if at, err = d.Cache.Name(ctx, c.scope, name); err == nil && at != name {
		c.request.Resource = registry.ARN(c.scope, at)
		err = d.Authorize.Authorize(ctx, c.request)
	}
	if err != nil {
		return nil, nil, at, err
	}
	p := d.pull(ctx, c, at)
	for _, ref := range refs {
		if up == nil || !registry.ValidRef(ref) {
			continue
		}
		err := d.Cache.Import(ctx, p, ref)
		var refused *registry.Error
		if errors.As(err, &refused) {
			causes[ref] = refused
		} else if err != nil {
			return nil, nil, at, err
		}
	}
	found, failed, err = d.Registry.Manifests(ctx, c.scope, at, refs)
	if registry.Is(err, registry.RepositoryNotFound) {
		for _, cause := range causes {
			if upstreamFailure(cause) != "" {
				return nil, nil, at, cause
			}
		}
	}
	for i, f := range failed {
		if cause := causes[f.Ref]; cause != nil && upstreamFailure(cause) != "" {
			failed[i].Code, failed[i].Reason = string(upstreamFailure(cause)), cause.Message
		}
	}
	if err != nil {
		return found, failed, at, err
	}
	found, failed, err = d.admitted(ctx, c, at, found, failed)
	return found, failed, at, err
}

// admitted moves images that the caller may not pull to the failures.
func (d *Door) admitted(ctx context.Context, c call, name string, found []registry.Manifest, failed []registry.Failure) (out []registry.Manifest, _ []registry.Failure, err error) {
	for _, m := range found {
		ref := registry.ImageRef{Digest: m.Digest, Tag: m.Tag}
		err := d.Registry.Admit(ctx, c.scope, name, ref, m.Image, func() (bool, error) {
			q := c.request
			q.Action = "ecr:" + registry.PullVulnerable
			err := d.Authorize.Authorize(ctx, q)
			if access.IsDenied(err) {
				return false, nil
			}
			return err == nil, err
		})
		var refused *registry.Error
		switch {
		case err == nil:
			out = append(out, m)
		case errors.As(err, &refused):
			failed = append(failed, registry.Failure{Ref: ref, Code: string(ecr.ImageFailureCodeImageInaccessible), Reason: refused.Message})
		default:
			return nil, nil, err
		}
	}
	return out, failed, nil
}

// pull is what the cache is asked for, with what the caller of a request may.
func (d *Door) pull(ctx context.Context, c call, name string) pullthrough.Pull {
	return pullthrough.Pull{Scope: c.scope, Name: name, May: func(action string, tags []access.Tag) error {
		q := c.request
		q.Action, q.Tags = "ecr:"+action, tags
		return d.Authorize.Authorize(ctx, q)
	}}
}

// upstreamFailure is the code of an image that the upstream did not give.
func upstreamFailure(e *registry.Error) ecr.ImageFailureCode {
	switch e.Code {
	case registry.UpstreamDenied:
		return ecr.ImageFailureCodeUpstreamAccessDenied
	case registry.UpstreamTooMany:
		return ecr.ImageFailureCodeUpstreamTooManyRequests
	case registry.UpstreamUnavailable:
		return ecr.ImageFailureCodeUpstreamUnavailable
	}
	return ""
}
