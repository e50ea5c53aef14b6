package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"berth/internal/access"
	"berth/internal/meta"
	"berth/internal/seal"
)

// Limits of ECR ("Amazon ECR service quotas").
const (
	maxResourceTags     = 50
	maxResourceTagKey   = 128
	maxResourceTagValue = 256
)

// A Repository is a repository as clients see it.
type Repository struct {
	meta.Repository
	ARN string
	URI string // host and name, without a scheme
}

// ARN is the Amazon resource name of a repository.
func ARN(s meta.Scope, name string) string {
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", partition(s.Region), s.Region, s.Account, name)
}

// partition is the AWS partition that a region belongs to.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}

// ParseARN is the registry and name that a repository ARN names. A repository has
// one ARN, so that no policy about it is passed by another way to write it: a
// partition that is not its region's is refused.
func ParseARN(arn string) (s meta.Scope, name string, err error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "ecr" {
		return s, "", invalid("resourceArn", "Invalid ARN")
	}
	name, ok := strings.CutPrefix(parts[5], "repository/")
	s = meta.Scope{Region: parts[3], Account: parts[4]}
	if !ok || !ValidName(name) || s.Region == "" || !access.IsAccountID(s.Account) || ARN(s, name) != arn {
		return s, "", invalid("resourceArn", "Invalid ARN")
	}
	return s, name, nil
}

func (r *Registry) describe(repo meta.Repository) Repository {
	return Repository{Repository: repo, ARN: ARN(repo.Scope, repo.Name), URI: r.host(repo.Scope) + "/" + repo.Name}
}

// A NewRepository is what CreateRepository is asked for. Empty fields take
// ECR's defaults: MUTABLE, AES256, no scan on push.
type NewRepository struct {
	Name       string
	Tags       []meta.ResourceTag
	Mutability Mutability
	ScanOnPush bool
	Encryption string
	KMSKey     string // key id, alias or ARN
	// MayUseKey is asked whether the key that was named may be used, by its ARN;
	// nil: it may.
	MayUseKey func(ctx context.Context, arn string) error

	// Of repositories that are created from a template, which was checked.
	Policy    string
	Lifecycle string
}

// CreateRepository adds a repository.
func (r *Registry) CreateRepository(ctx context.Context, s meta.Scope, n NewRepository) (Repository, error) {
	if !ValidName(n.Name) {
		return Repository{}, invalid("repositoryName", "must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'")
	}
	mutability, err := n.Mutability.normalise()
	if err != nil {
		return Repository{}, err
	}
	if err := checkResourceTags(n.Tags); err != nil {
		return Repository{}, err
	}
	encryption, key, err := r.settleEncryption(ctx, s, n)
	if err != nil {
		return Repository{}, err
	}
	repo := meta.Repository{
		Scope: s, Name: n.Name, CreatedAt: r.now(), Mutability: mutability.Mode, MutabilityFilters: mutability.Filters,
		ScanOnPush: n.ScanOnPush, Encryption: encryption, KMSKey: key, Policy: n.Policy, Lifecycle: n.Lifecycle,
	}
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		err := tx.InsertRepository(&repo)
		if errors.Is(err, meta.ErrExists) {
			return refuse(RepositoryAlreadyExists,
				"The repository with name '%s' already exists in the registry with id '%s'", n.Name, s.Account)
		}
		if err != nil {
			return err
		}
		return putResourceTags(tx, repo.ID, n.Tags)
	})
	return r.describe(repo), err
}

// Kinds of encryption (API_EncryptionConfiguration).
const (
	EncryptionAES  = "AES256"
	EncryptionKMS  = "KMS"
	EncryptionDual = "KMS_DSSE"
)

// settleEncryption decides the encryption settings of a new repository. A key
// must be usable now, and is kept as a full ARN whatever form it was given in;
// KMS without a key means the account's default key (API_EncryptionConfiguration).
func (r *Registry) settleEncryption(ctx context.Context, s meta.Scope, n NewRepository) (string, string, error) {
	kind, key := n.Encryption, n.KMSKey
	switch kind {
	case "", EncryptionAES:
		if key != "" {
			return "", "", aesWithKey()
		}
		return EncryptionAES, "", nil
	case EncryptionKMS, EncryptionDual:
		if key == "" {
			key = "alias/aws/ecr"
		}
		arn, err := r.kms.Resolve(ctx, s.Account, s.Region, key)
		if err != nil {
			return "", "", kmsRefusal(err)
		}
		if n.KMSKey != "" && n.MayUseKey != nil {
			if err := n.MayUseKey(ctx, arn); err != nil {
				return "", "", kmsRefusal(err)
			}
		}
		return kind, arn, kmsRefusal(r.seal.Ensure(ctx, seal.Domain{Account: s.Account, KMSKey: arn, Dual: kind == EncryptionDual}))
	default:
		return "", "", unknownEncryption()
	}
}

func aesWithKey() error {
	return invalid("encryptionConfiguration", "KMS key can't be set when encryption type is AES256")
}

func unknownEncryption() error {
	return invalid("encryptionConfiguration.encryptionType", "Member must satisfy enum value set: [KMS, AES256, KMS_DSSE]")
}

// DescribeRepositories lists repositories: those named, in that order, or up
// to limit in name order after the cursor. next is empty on the last page.
func (r *Registry) DescribeRepositories(ctx context.Context, s meta.Scope, names []string, cursor string, limit int) (out []Repository, next string, err error) {
	after, err := r.openNameCursor("repositories", s, cursor)
	if err != nil {
		return nil, "", err
	}
	out = []Repository{}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		for _, name := range names {
			repo, err := findRepository(tx, s, name)
			if err != nil {
				return err
			}
			out = append(out, r.describe(repo))
		}
		if len(names) > 0 {
			return nil
		}
		page, err := tx.Repositories(s, after, limit+1)
		if err != nil {
			return err
		}
		if len(page) > limit {
			page = page[:limit]
			if next, err = r.sealNameCursor("repositories", s, page[limit-1].Name); err != nil {
				return err
			}
		}
		for _, repo := range page {
			out = append(out, r.describe(repo))
		}
		return nil
	})
	return out, next, err
}

// RepositoryNames lists up to limit names in lexical order after the one given;
// more says that others follow.
func (r *Registry) RepositoryNames(ctx context.Context, s meta.Scope, after string, limit int) (names []string, more bool, err error) {
	names = []string{}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		page, err := tx.Repositories(s, after, limit+1)
		if len(page) > limit {
			page, more = page[:limit], true
		}
		for _, repo := range page {
			names = append(names, repo.Name)
		}
		return err
	})
	return names, more, err
}

// Repository finds one repository.
func (r *Registry) Repository(ctx context.Context, s meta.Scope, name string) (out Repository, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		repo, err := findRepository(tx, s, name)
		out = r.describe(repo)
		return err
	})
	return out, err
}

// DeleteRepository removes a repository. One with images goes only by force.
func (r *Registry) DeleteRepository(ctx context.Context, s meta.Scope, name string, force bool) (out Repository, err error) {
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		out = r.describe(repo)
		full, err := tx.HasImages(repo.ID)
		if err != nil {
			return err
		}
		if full && !force {
			return refuse(RepositoryNotEmpty, "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", name, s.Account)
		}
		if err := emitEmptied(tx, repo, r.now()); err != nil {
			return err
		}
		return tx.DeleteRepository(repo.ID)
	})
	return out, err
}

// SetScanOnPush sets whether images are scanned when they are pushed, which is
// for the registry to say when its scanning is enhanced.
func (r *Registry) SetScanOnPush(ctx context.Context, s meta.Scope, name string, on bool) (out Repository, err error) {
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if err := checkBasicScanning(tx, s); err != nil {
			return err
		}
		repo.ScanOnPush = on
		out = r.describe(repo)
		return tx.SaveRepository(repo)
	})
	return out, err
}

// save changes the settings of a repository.
func (r *Registry) save(ctx context.Context, s meta.Scope, name string, change func(*meta.Repository) error) (out Repository, err error) {
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if err := change(&repo); err != nil {
			return err
		}
		out = r.describe(repo)
		return tx.SaveRepository(repo)
	})
	return out, err
}

// ResourceTags lists the resource tags of a repository in key order.
func (r *Registry) ResourceTags(ctx context.Context, s meta.Scope, name string) (out []meta.ResourceTag, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		out, err = tx.ResourceTags(repo.ID)
		return err
	})
	return out, err
}

// TagResource adds resource tags or replaces those with the same keys.
func (r *Registry) TagResource(ctx context.Context, s meta.Scope, name string, tags []meta.ResourceTag) error {
	if err := checkResourceTags(tags); err != nil {
		return err
	}
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		return putResourceTags(tx, repo.ID, tags)
	})
}

// UntagResource removes resource tags; keys that are not there are no error.
func (r *Registry) UntagResource(ctx context.Context, s meta.Scope, name string, keys []string) error {
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		for _, k := range keys {
			if err := tx.DeleteResourceTag(repo.ID, k); err != nil {
				return err
			}
		}
		return nil
	})
}

func putResourceTags(tx *meta.Tx, repositoryID int64, tags []meta.ResourceTag) error {
	for _, t := range tags {
		if err := tx.PutResourceTag(repositoryID, t); err != nil {
			return err
		}
	}
	all, err := tx.ResourceTags(repositoryID)
	if err == nil && len(all) > maxResourceTags {
		return refuse(TooManyTags, "The repository would have %d tags, more than the limit of %d", len(all), maxResourceTags)
	}
	return err
}

// tagText is what keys and values of tags consist of.
var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// checkResourceTags applies AWS's rules for tags (Tagging AWS resources, "Tag
// naming limits and requirements").
func checkResourceTags(tags []meta.ResourceTag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch n := utf8.RuneCountInString(t.Key); {
		case n == 0 || n > maxResourceTagKey:
			return refuse(InvalidTagParameter, "Tag key '%s' must have 1 to %d characters", t.Key, maxResourceTagKey)
		case utf8.RuneCountInString(t.Value) > maxResourceTagValue:
			return refuse(InvalidTagParameter, "The value of tag '%s' must have at most %d characters", t.Key, maxResourceTagValue)
		case !tagText.MatchString(t.Key) || !tagText.MatchString(t.Value):
			return refuse(InvalidTagParameter, "Tag key '%s' and its value may have letters, numbers, spaces and the characters _ . : / = + - @ only", t.Key)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return refuse(InvalidTagParameter, "Tag key '%s' must not start with the reserved prefix 'aws:'", t.Key)
		case seen[t.Key]:
			return refuse(InvalidTagParameter, "Tag key '%s' is given more than once", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}

// UnreferencedBytes adds up what a repository holds that no image of it lists:
// pushed or mounted blobs without an image, and uploads that are not done.
// Collection gives it back when their leases end.
func (r *Registry) UnreferencedBytes(ctx context.Context, s meta.Scope, name string) (n int64, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		n, err = tx.Unreferenced(repo.ID)
		return err
	})
	return n, err
}
