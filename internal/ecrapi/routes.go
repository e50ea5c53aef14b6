package ecrapi

import (
	"context"
	"reflect"

	"berth/internal/access"
	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
)

// A route is one operation: how to find the resource it acts on, which decides
// who may call it, and what to do.
type route struct {
	locate func(c *call, in any) (resource string, err error)
	handle func(d *Door, ctx context.Context, c call, in any) (any, error)
	action string // the operation that policies name, where it is another one
	home   bool   // it is about the installation, which belongs to the home account
}

// allowedBy makes a route one that policies allow under another operation's name.
func (rt route) allowedBy(operation string) route {
	rt.action = operation
	return rt
}

// ofHome makes a route one about the installation: whoever is not of the home
// account needs the right from its registry policy too.
func (rt route) ofHome() route {
	rt.home = true
	return rt
}

// on makes a route from a handler with its operation's own input type.
func on[I any](locate func(*call, any) (string, error), fn func(*Door, context.Context, call, *I) (any, error)) route {
	return route{locate: locate, handle: func(d *Door, ctx context.Context, c call, in any) (any, error) {
		return fn(d, ctx, c, in.(*I))
	}}
}

// routes lists the operations offered.
func routes() map[string]route {
	return map[string]route{
		"CreateRepository":                        on(onRepository, createRepository),
		"DescribeRepositories":                    on(onRepositories, describeRepositories),
		"DeleteRepository":                        on(onRepository, deleteRepository),
		"PutImageTagMutability":                   on(onRepository, putImageTagMutability),
		"PutImageScanningConfiguration":           on(onRepository, putImageScanningConfiguration),
		"TagResource":                             on(onARN, tagResource),
		"UntagResource":                           on(onARN, untagResource),
		"ListTagsForResource":                     on(onARN, listTagsForResource),
		"SetRepositoryPolicy":                     on(onRepository, setRepositoryPolicy),
		"GetRepositoryPolicy":                     on(onRepository, getRepositoryPolicy),
		"DeleteRepositoryPolicy":                  on(onRepository, deleteRepositoryPolicy),
		"PutLifecyclePolicy":                      on(onRepository, putLifecyclePolicy),
		"GetLifecyclePolicy":                      on(onRepository, getLifecyclePolicy),
		"DeleteLifecyclePolicy":                   on(onRepository, deleteLifecyclePolicy),
		"StartLifecyclePolicyPreview":             on(onRepository, startLifecyclePolicyPreview),
		"GetLifecyclePolicyPreview":               on(onRepository, getLifecyclePolicyPreview),
		"PutImage":                                on(onRepository, putImage),
		"BatchGetImage":                           on(onRepository, batchGetImage),
		"BatchDeleteImage":                        on(onRepository, batchDeleteImage),
		"ListImages":                              on(onRepository, listImages),
		"DescribeImages":                          on(onRepository, describeImages),
		"ListImageReferrers":                      on(onRepository, listImageReferrers).allowedBy("BatchGetImage"),
		"UpdateImageStorageClass":                 on(onRepository, updateImageStorageClass),
		"InitiateLayerUpload":                     on(onRepository, initiateLayerUpload),
		"UploadLayerPart":                         on(onRepository, uploadLayerPart),
		"CompleteLayerUpload":                     on(onRepository, completeLayerUpload),
		"BatchCheckLayerAvailability":             on(onRepository, batchCheckLayerAvailability),
		"GetDownloadUrlForLayer":                  on(onRepository, getDownloadURLForLayer),
		"GetAuthorizationToken":                   on(onCaller, getAuthorizationToken),
		"GetAccountSetting":                       on(onRegistry, getAccountSetting),
		"PutAccountSetting":                       on(onRegistry, putAccountSetting),
		"StartImageScan":                          on(onRepository, startImageScan),
		"DescribeImageScanFindings":               on(onRepository, describeImageScanFindings),
		"PutRegistryScanningConfiguration":        on(onRegistry, putRegistryScanningConfiguration),
		"GetRegistryScanningConfiguration":        on(onRegistry, getRegistryScanningConfiguration),
		"BatchGetRepositoryScanningConfiguration": on(onRepositories, batchGetRepositoryScanningConfiguration),
		"RegisterPullTimeUpdateExclusion":         on(onRegistry, registerPullTimeUpdateExclusion),
		"DeregisterPullTimeUpdateExclusion":       on(onRegistry, deregisterPullTimeUpdateExclusion),
		"ListPullTimeUpdateExclusions":            on(onRegistry, listPullTimeUpdateExclusions),
		"PutSigningConfiguration":                 on(onRegistry, putSigningConfiguration),
		"GetSigningConfiguration":                 on(onRegistry, getSigningConfiguration),
		"DeleteSigningConfiguration":              on(onRegistry, deleteSigningConfiguration),
		"PutReplicationConfiguration":             on(onRegistry, putReplicationConfiguration),
		"DescribeImageSigningStatus":              on(onRepository, describeImageSigningStatus),
		"DescribeImageReplicationStatus":          on(onRepository, describeImageReplicationStatus),
		"StartReplicationBackfill":                on(onRegistry, startReplicationBackfill),
		"StopReplicationBackfill":                 on(onRegistry, stopReplicationBackfill),
		"ListReplicationBackfills":                on(onRegistry, listReplicationBackfills),
		"DescribeReplicationBackfillResults":      on(onRegistry, describeReplicationBackfillResults),
		"DescribeRegistry":                        on(onRegistry, describeRegistry),
		"PutRegistryPolicy":                       on(onRegistry, putRegistryPolicy),
		"GetRegistryPolicy":                       on(onRegistry, getRegistryPolicy),
		"DeleteRegistryPolicy":                    on(onRegistry, deleteRegistryPolicy),
		"CreatePullThroughCacheRule":              on(onRegistry, createPullThroughCacheRule),
		"DescribePullThroughCacheRules":           on(onRegistry, describePullThroughCacheRules),
		"UpdatePullThroughCacheRule":              on(onRegistry, updatePullThroughCacheRule),
		"DeletePullThroughCacheRule":              on(onRegistry, deletePullThroughCacheRule),
		"ValidatePullThroughCacheRule":            on(onRegistry, validatePullThroughCacheRule),
		"CreateRepositoryCreationTemplate":        on(onRegistry, createRepositoryCreationTemplate),
		"DescribeRepositoryCreationTemplates":     on(onRegistry, describeRepositoryCreationTemplates),
		"UpdateRepositoryCreationTemplate":        on(onRegistry, updateRepositoryCreationTemplate),
		"DeleteRepositoryCreationTemplate":        on(onRegistry, deleteRepositoryCreationTemplate),
	}
}

// onCaller is for operations about the caller itself.
func onCaller(c *call, _ any) (string, error) {
	c.scope = meta.Scope{Account: c.principal.Account, Region: c.region}
	return "*", nil
}

// onRegistry is for operations about a registry as a whole: registryId, or the
// caller's own.
func onRegistry(c *call, in any) (string, error) {
	c.scope = meta.Scope{Account: c.principal.Account, Region: c.region}
	if id := member(in, "RegistryID"); id != "" {
		c.scope.Account = id
	}
	return "*", nil
}

// onRepository is for operations about one repository.
func onRepository(c *call, in any) (string, error) {
	if _, err := onRegistry(c, in); err != nil {
		return "", err
	}
	return registry.ARN(c.scope, member(in, "RepositoryName")), nil
}

// onRepositories is for operations about all repositories of a registry, or about
// some that are named, each of which the caller must be allowed.
func onRepositories(c *call, in any) (string, error) {
	if _, err := onRegistry(c, in); err != nil {
		return "", err
	}
	names, _ := field(in, "RepositoryNames").([]string)
	if len(names) == 0 {
		return registry.ARN(c.scope, "*"), nil
	}
	for _, name := range names[1:] {
		c.others = append(c.others, registry.ARN(c.scope, name))
	}
	return registry.ARN(c.scope, names[0]), nil
}

// onARN is for operations that name their repository by ARN. An ARN of another
// region than the signature's names nothing here.
func onARN(c *call, in any) (string, error) {
	arn := member(in, "ResourceARN")
	s, _, err := registry.ParseARN(arn)
	if err != nil {
		return "", err
	}
	if s.Region != c.region || !access.IsAccountID(s.Account) {
		return "", ecr.NewException(ecr.CodeInvalidParameter, "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
	}
	c.scope = s
	return arn, nil
}

// member reads a string member that many inputs have in common.
func member(in any, field string) string {
	v := reflect.ValueOf(in).Elem().FieldByName(field)
	if !v.IsValid() || v.Kind() != reflect.String {
		return ""
	}
	return v.String()
}

// tagsOf are the tags that a request sets.
func tagsOf(in any) (out []access.Tag) {
	tags, _ := field(in, "Tags").([]ecr.Tag)
	for _, t := range tags {
		out = append(out, access.Tag{Key: t.Key, Value: t.Value})
	}
	return out
}

// tagKeysOf are the keys of the tags that a request removes.
func tagKeysOf(in any) []string {
	keys, _ := field(in, "TagKeys").([]string)
	return keys
}

// field is a member of an input, nil when it has none of that name.
func field(in any, name string) any {
	v := reflect.ValueOf(in).Elem().FieldByName(name)
	if !v.IsValid() {
		return nil
	}
	return v.Interface()
}
