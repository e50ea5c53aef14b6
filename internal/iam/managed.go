package iam

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/meta"
)

// maxVersions is how many versions a managed policy has at most.
const maxVersions = 5

// awsPrefix is how the ARNs of AWS's own policies begin.
const awsPrefix = "arn:aws:iam::aws:policy/"

const ecrRead = `"ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer",` +
	`"ecr:GetRepositoryPolicy","ecr:DescribeRepositories","ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage",` +
	`"ecr:GetLifecyclePolicy","ecr:GetLifecyclePolicyPreview","ecr:ListTagsForResource","ecr:DescribeImageScanFindings"`

const ecrWrite = `,"ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:PutImage"`

func allow(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`
}

// awsManaged gives AWS's own policies (ECR User Guide, "AWS managed policies for
// Amazon ECR"). ReadOnlyAccess has what it says of the services that are here.
func awsManaged(arn string) (string, bool) {
	name, ok := strings.CutPrefix(arn, awsPrefix)
	if !ok {
		return "", false
	}
	switch name {
	case "AmazonEC2ContainerRegistryPullOnly":
		return allow(`"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchImportUpstreamImage"`), true
	case "AmazonEC2ContainerRegistryReadOnly":
		return allow(ecrRead), true
	case "AmazonEC2ContainerRegistryPowerUser":
		return allow(ecrRead + ecrWrite), true
	case "AmazonEC2ContainerRegistryFullAccess":
		return `{"Version":"2012-10-17","Statement":[` +
			`{"Effect":"Allow","Action":["ecr:*","cloudtrail:LookupEvents"],"Resource":"*"},` +
			`{"Effect":"Allow","Action":["iam:CreateServiceLinkedRole"],"Resource":"*",` +
			`"Condition":{"StringEquals":{"iam:AWSServiceName":["replication.ecr.amazonaws.com"]}}}]}`, true
	case "AdministratorAccess":
		return allow(`"*"`), true
	case "ReadOnlyAccess":
		return allow(`"ecr:BatchCheck*","ecr:BatchGet*","ecr:Describe*","ecr:Get*","ecr:List*","iam:Get*","iam:List*",` +
			`"kms:Describe*","kms:Get*","kms:List*","sts:GetAccessKeyInfo","sts:GetCallerIdentity"`), true
	}
	return "", false
}

// awsManagedNames are the policies that awsManaged gives, in order.
func awsManagedNames() []string {
	return []string{
		"AdministratorAccess", "AmazonEC2ContainerRegistryFullAccess", "AmazonEC2ContainerRegistryPowerUser",
		"AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly", "ReadOnlyAccess",
	}
}

// awsPolicy is one of AWS's own policies as the API shows it. They have a
// constant date here, since they are part of the program.
func awsPolicy(arn string) meta.IAMPolicy {
	name := strings.TrimPrefix(arn, awsPrefix)
	at := time.Date(2015, 12, 21, 17, 0, 0, 0, time.UTC)
	sum := sha256.Sum256([]byte(name)) // an id that is the same everywhere, as on AWS, and no other policy's
	return meta.IAMPolicy{ARN: arn, ID: "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17], Account: "aws", Name: name, Path: "/", DefaultVersion: 1, LastVersion: 1, CreatedAt: at, UpdatedAt: at}
}

// managedText is the text of a policy that may be attached in an account.
// meta.ErrNotFound: there is none.
func managedText(tx *meta.Tx, account, arn string) (string, error) {
	if text, ok := awsManaged(arn); ok {
		return text, nil
	}
	p, err := tx.IAMPolicy(arn)
	if err != nil {
		return "", err
	}
	if p.Account != account {
		return "", meta.ErrNotFound
	}
	v, err := tx.PolicyVersion(arn, p.DefaultVersion)
	return v.Document, err
}

// A Managed is a managed policy with its use.
type Managed struct {
	meta.IAMPolicy
	Attached, Bounds int
}

// CreatePolicy adds a managed policy to an account.
func (s *Store) CreatePolicy(ctx context.Context, p meta.IAMPolicy, text string) (meta.IAMPolicy, error) {
	if p.Path == "" {
		p.Path = "/"
	}
	if err := errors.Join(CheckName("policyName", p.Name, 128), checkPath(p.Path), checkTags(p.Tags), s.checkManaged(text)); err != nil {
		return p, first(err)
	}
	p.ARN = "arn:aws:iam::" + p.Account + ":policy" + p.Path + p.Name
	p.ID, p.DefaultVersion, p.LastVersion = newID("ANPA"), 1, 1
	p.CreatedAt = s.now().UTC().Truncate(time.Second)
	p.UpdatedAt = p.CreatedAt
	err := s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.InsertIAMPolicy(p); err != nil {
			return err
		}
		return tx.InsertPolicyVersion(p.ARN, meta.PolicyVersion{Number: 1, Document: text, CreatedAt: p.CreatedAt})
	})
	if errors.Is(err, meta.ErrExists) {
		err = exists("A policy called %s already exists. Duplicate names are not allowed.", p.Name)
	}
	return p, err
}

func (s *Store) checkManaged(text string) error {
	if policySize(text) > maxManaged {
		return limit("Cannot exceed quota for PolicySize: %d", maxManaged)
	}
	return s.checkPolicy(text)
}

func policyMissing(err error, arn string) error {
	if errors.Is(err, meta.ErrNotFound) {
		return noSuch("Policy %s was not found.", arn)
	}
	return err
}

// policyOf finds a managed policy that an account may see.
func policyOf(tx *meta.Tx, account, arn string) (meta.IAMPolicy, error) {
	if _, ok := awsManaged(arn); ok {
		return awsPolicy(arn), nil
	}
	p, err := tx.IAMPolicy(arn)
	if err == nil && p.Account != account {
		err = meta.ErrNotFound
	}
	return p, policyMissing(err, arn)
}

// Policy finds a managed policy that an account may see.
func (s *Store) Policy(ctx context.Context, account, arn string) (m Managed, err error) {
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		if m.IAMPolicy, err = policyOf(tx, account, arn); err != nil {
			return err
		}
		m.Attached, m.Bounds, err = tx.AttachmentCount(arn)
		return err
	})
	return m, err
}

// ListPolicies lists managed policies by name: AWS's own, the account's, or both.
func (s *Store) ListPolicies(ctx context.Context, account string, aws, local bool) (out []Managed, err error) {
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		out = nil
		if local {
			all, err := tx.IAMPolicies(account)
			if err != nil {
				return err
			}
			for _, p := range all {
				out = append(out, Managed{IAMPolicy: p})
			}
		}
		if aws {
			for _, name := range awsManagedNames() {
				out = append(out, Managed{IAMPolicy: awsPolicy(awsPrefix + name)})
			}
		}
		for i := range out {
			if out[i].Attached, out[i].Bounds, err = tx.AttachmentCount(out[i].ARN); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Managed) int { return strings.Compare(a.ARN, b.ARN) })
	return out, err
}

// PolicyVersions lists the versions of a managed policy, youngest first, and
// gives the number of the default one.
func (s *Store) PolicyVersions(ctx context.Context, account, arn string) (out []meta.PolicyVersion, current int, err error) {
	if text, ok := awsManaged(arn); ok {
		return []meta.PolicyVersion{{Number: 1, Document: text, CreatedAt: awsPolicy(arn).CreatedAt}}, 1, nil
	}
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		p, err := policyOf(tx, account, arn)
		if err != nil {
			return err
		}
		current = p.DefaultVersion
		out, err = tx.PolicyVersions(arn)
		return err
	})
	return out, current, err
}

// versionNumber reads v1, v2, ….
func versionNumber(id string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "v"))
	if err != nil || n < 1 || id != "v"+strconv.Itoa(n) {
		return 0, Constraint("versionId", id, `Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`)
	}
	return n, nil
}

func versionMissing(arn, id string) error {
	return noSuch("Policy %s version %s does not exist or is not attachable.", arn, id)
}

// PolicyVersion finds a version by its id.
func (s *Store) PolicyVersion(ctx context.Context, account, arn, id string) (meta.PolicyVersion, bool, error) {
	n, err := versionNumber(id)
	if err != nil {
		return meta.PolicyVersion{}, false, err
	}
	all, current, err := s.PolicyVersions(ctx, account, arn)
	if err != nil {
		return meta.PolicyVersion{}, false, err
	}
	for _, v := range all {
		if v.Number == n {
			return v, n == current, nil
		}
	}
	return meta.PolicyVersion{}, false, versionMissing(arn, id)
}

// change runs fn in a write transaction with a policy of the account, and saves it.
func (s *Store) change(ctx context.Context, account, arn string, fn func(tx *meta.Tx, p *meta.IAMPolicy) error) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		p, err := policyOf(tx, account, arn)
		if err != nil {
			return err
		}
		if p.Account != account {
			return &Error{403, "AccessDenied", "Policies of AWS cannot be changed."}
		}
		if err := fn(tx, &p); err != nil {
			return err
		}
		p.UpdatedAt = s.now()
		return tx.SaveIAMPolicy(p)
	})
}

// CreatePolicyVersion adds a version, which may become the default one.
func (s *Store) CreatePolicyVersion(ctx context.Context, account, arn, text string, isDefault bool) (v meta.PolicyVersion, err error) {
	if err := s.checkManaged(text); err != nil {
		return v, err
	}
	err = s.change(ctx, account, arn, func(tx *meta.Tx, p *meta.IAMPolicy) error {
		all, err := tx.PolicyVersions(arn)
		if err != nil {
			return err
		}
		if len(all) >= maxVersions {
			return limit("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.LastVersion++
		v = meta.PolicyVersion{Number: p.LastVersion, Document: text, CreatedAt: s.now().UTC().Truncate(time.Second)}
		if isDefault {
			p.DefaultVersion = v.Number
		}
		return tx.InsertPolicyVersion(arn, v)
	})
	return v, err
}

// SetDefaultPolicyVersion chooses the version that holds.
func (s *Store) SetDefaultPolicyVersion(ctx context.Context, account, arn, id string) error {
	n, err := versionNumber(id)
	if err != nil {
		return err
	}
	return s.change(ctx, account, arn, func(tx *meta.Tx, p *meta.IAMPolicy) error {
		if _, err := tx.PolicyVersion(arn, n); errors.Is(err, meta.ErrNotFound) {
			return versionMissing(arn, id)
		} else if err != nil {
			return err
		}
		p.DefaultVersion = n
		return nil
	})
}

// DeletePolicyVersion removes a version that is not the default one.
func (s *Store) DeletePolicyVersion(ctx context.Context, account, arn, id string) error {
	n, err := versionNumber(id)
	if err != nil {
		return err
	}
	return s.change(ctx, account, arn, func(tx *meta.Tx, p *meta.IAMPolicy) error {
		if p.DefaultVersion == n {
			return conflict("Cannot delete the default version of a policy.")
		}
		err := tx.DeletePolicyVersion(arn, n)
		if errors.Is(err, meta.ErrNotFound) {
			return versionMissing(arn, id)
		}
		return err
	})
}

// TagPolicy changes the tags of a policy: adds some, then removes some.
func (s *Store) TagPolicy(ctx context.Context, account, arn string, add map[string]string, remove []string) error {
	return s.change(ctx, account, arn, func(_ *meta.Tx, p *meta.IAMPolicy) error {
		p.Tags = merged(p.Tags, add)
		for _, k := range remove {
			delete(p.Tags, k)
		}
		return checkTags(p.Tags)
	})
}

// DeletePolicy removes a managed policy that nothing uses and that has one version.
func (s *Store) DeletePolicy(ctx context.Context, account, arn string) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		p, err := policyOf(tx, account, arn)
		if err != nil {
			return err
		}
		if p.Account != account {
			return &Error{403, "AccessDenied", "Policies of AWS cannot be deleted."}
		}
		attached, bounds, err := tx.AttachmentCount(arn)
		if err != nil {
			return err
		}
		if attached+bounds > 0 {
			return conflict("Cannot delete a policy attached to entities.")
		}
		all, err := tx.PolicyVersions(arn)
		if err == nil && len(all) > 1 {
			err = conflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		if err != nil {
			return err
		}
		return tx.DeleteIAMPolicy(arn)
	})
}
