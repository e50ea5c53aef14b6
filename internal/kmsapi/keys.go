package kmsapi

import (
	"berth/internal/ecr"
	"berth/internal/kms"
	"berth/internal/kms/local"
)

// keyMetadata is KeyMetadata (KMS API reference).
type keyMetadata struct {
	AWSAccountID          string `json:"AWSAccountId"`
	KeyID                 string `json:"KeyId"`
	Arn                   string
	CreationDate          ecr.Time
	Enabled               bool
	Description           string
	KeyUsage              string
	KeyState              string
	DeletionDate          ecr.Time `json:",omitzero"`
	Origin                string
	KeyManager            string
	CustomerMasterKeySpec string
	KeySpec               string
	EncryptionAlgorithms  []string
	MultiRegion           bool
	CurrentKeyMaterialID  string `json:"CurrentKeyMaterialId"`
}

type keyAnswer struct{ KeyMetadata keyMetadata }

func metadata(k local.Key) any {
	return keyAnswer{keyMetadata{
		AWSAccountID: k.Scope.Account, KeyID: k.ID, Arn: k.ARN, CreationDate: ecr.At(k.CreatedAt), Enabled: k.State == local.Enabled,
		Description: k.Description, KeyUsage: k.Usage, KeyState: k.State, DeletionDate: ecr.At(k.DeletionAt), Origin: "AWS_KMS",
		KeyManager: k.Manager, CustomerMasterKeySpec: k.Spec, KeySpec: k.Spec, EncryptionAlgorithms: []string{k.Spec},
		CurrentKeyMaterialID: k.Material,
	}}
}

func createKey(in *input) action {
	ask := local.NewKey{
		Description: in.text("Description", false, 0, local.MaxDescription), Policy: in.text("Policy", false, 1, 131072),
		Tags: in.tags(false), Bypass: in.boolean("BypassPolicyLockoutSafetyCheck"),
	}
	kind := readKind(in)
	return action{everything: true, tags: ask.Tags, run: func(c *call) (any, error) {
		if err := kind.check(); err != nil {
			return nil, err
		}
		ask.Caller = c.asks("*", c.scope.Account)
		key, err := c.kms.Create(c.ctx, c.scope, ask)
		return metadata(key), err
	}}
}

// A kind is which sort of key CreateKey asks for.
type kind struct {
	spec, oldSpec, usage, origin string
	multiRegion, elsewhere       bool
}

func readKind(in *input) kind {
	specs := []string{"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1",
		local.Spec, "HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512", "SM2", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ECC_NIST_EDWARDS25519"}
	k := kind{
		spec: in.enum("KeySpec", "", specs...), oldSpec: in.enum("CustomerMasterKeySpec", "", specs[:13]...),
		usage:       in.enum("KeyUsage", local.Usage, local.Usage, "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"),
		origin:      in.enum("Origin", "AWS_KMS", "AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"),
		multiRegion: in.boolean("MultiRegion"),
	}
	k.elsewhere = in.text("CustomKeyStoreId", false, 1, 64)+in.text("XksKeyId", false, 1, 128) != ""
	return k
}

// check refuses what is not a symmetric key of KMS itself.
func (k kind) check() error {
	unsupported := func(what string) error {
		return &kms.Error{Code: local.Unsupported, Message: what + " is not supported: Berth has symmetric encryption keys of its own only."}
	}
	if k.spec != "" && k.oldSpec != "" && k.spec != k.oldSpec {
		return invalid("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	spec := k.spec + k.oldSpec
	if k.spec != "" {
		spec = k.spec
	}
	switch {
	case spec != "" && spec != local.Spec:
		return unsupported("KeySpec " + spec)
	case k.usage != local.Usage:
		return invalid("The operation failed because the KeyUsage value " + k.usage + " is not compatible with key spec " + local.Spec)
	case k.origin != "AWS_KMS":
		return unsupported("Origin " + k.origin)
	case k.elsewhere:
		return unsupported("A custom key store")
	case k.multiRegion:
		return unsupported("MultiRegion")
	}
	return nil
}

func describeKey(in *input) action {
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		key, err := c.kms.DescribeManaged(c.ctx, c.arns[0])
		return metadata(key), err
	}}
}

// keyEntry is KeyListEntry.
type keyEntry struct {
	KeyID  string `json:"KeyId"`
	KeyArn string
}

type keysAnswer struct {
	Keys       []keyEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func listKeys(in *input) action {
	w := in.window("keys", 100, 1000)
	return action{everything: true, run: func(c *call) (any, error) {
		keys, more, err := c.kms.Keys(c.ctx, c.scope, w.after, w.limit)
		out := keysAnswer{Keys: []keyEntry{}, Truncated: more}
		for _, k := range keys {
			out.Keys = append(out.Keys, keyEntry{k.ID, k.ARN})
			out.NextMarker = w.next(more, k.ARN)
		}
		return out, err
	}}
}

func updateKeyDescription(in *input) action {
	text := in.text("Description", true, 0, local.MaxDescription)
	return onKey(in, func(c *call, arn string) error { return c.kms.SetDescription(c.ctx, arn, text) })
}

func enableKey(in *input) action {
	return onKey(in, func(c *call, arn string) error { return c.kms.Enable(c.ctx, arn) })
}

func disableKey(in *input) action {
	return onKey(in, func(c *call, arn string) error { return c.kms.Disable(c.ctx, arn) })
}

type deletionAnswer struct {
	KeyID               string `json:"KeyId"`
	DeletionDate        ecr.Time
	KeyState            string
	PendingWindowInDays int
}

func scheduleKeyDeletion(in *input) action {
	days := in.integer("PendingWindowInDays", 30, 1, 365)
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		k, err := c.kms.ScheduleDeletion(c.ctx, c.arns[0], days)
		return deletionAnswer{k.ARN, ecr.At(k.DeletionAt), k.State, k.DeletionDays}, err
	}}
}

type keyIDAnswer struct {
	KeyID string `json:"KeyId"`
}

func cancelKeyDeletion(in *input) action {
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		k, err := c.kms.CancelDeletion(c.ctx, c.arns[0])
		return keyIDAnswer{k.ARN}, err
	}}
}
