package kmsapi

import (
	"crypto/rand"

	"berth/internal/kms"
	"berth/internal/kms/local"
)

// Limits (KMS API reference, Encrypt, Decrypt and GenerateDataKey).
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxDataKey    = 1024
)

// finish answers, or says that the request was only a trial.
func finish(out any, err error, dryRun bool) (any, error) {
	if err == nil && dryRun {
		return nil, &kms.Error{Code: codeDryRun, Message: "The request would have succeeded, but the DryRun option is set."}
	}
	return out, err
}

// readAlgorithm refuses algorithms of other kinds of keys.
func readAlgorithm(in *input, name string) error {
	if a := in.enum(name, local.Spec, local.Spec, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"); a != local.Spec {
		return &kms.Error{Code: kms.InvalidUsage, Message: "The algorithm " + a + " is not compatible with key spec " + local.Spec + "."}
	}
	return nil
}

// readRecipient refuses what asks for an answer to an enclave only.
func readRecipient(in *input) error {
	if _, ok := in.value("Recipient", false); ok {
		return &kms.Error{Code: local.Unsupported, Message: "Recipient is not supported."}
	}
	return nil
}

type encryptAnswer struct {
	CiphertextBlob      []byte
	KeyID               string `json:"KeyId"`
	EncryptionAlgorithm string
}

func encrypt(in *input) action {
	plaintext, c, dry := in.blob("Plaintext", maxPlaintext), in.context(), in.boolean("DryRun")
	algorithm := readAlgorithm(in, "EncryptionAlgorithm")
	return action{keys: []string{in.key("KeyId")}, context: c, run: func(call *call) (any, error) {
		if algorithm != nil {
			return nil, algorithm
		}
		sealed, arn, _, err := call.kms.Encrypt(call.ctx, call.arns[0], plaintext, c)
		return finish(encryptAnswer{sealed, arn, local.Spec}, err, dry)
	}}
}

type decryptAnswer struct {
	Plaintext           []byte
	KeyID               string `json:"KeyId"`
	EncryptionAlgorithm string
	KeyMaterialID       string `json:"KeyMaterialId"`
}

// decrypt takes the key from the ciphertext when none is named; one that is
// named must be the right one.
func decrypt(in *input) action {
	sealed, c, dry := in.blob("CiphertextBlob", maxCiphertext), in.context(), in.boolean("DryRun")
	algorithm, recipient := readAlgorithm(in, "EncryptionAlgorithm"), readRecipient(in)
	a := action{sealed: sealed, context: c}
	if key := in.text("KeyId", false, 1, 2048); key != "" {
		a.keys = []string{key}
	}
	a.run = func(call *call) (any, error) {
		for _, err := range []error{algorithm, recipient} {
			if err != nil {
				return nil, err
			}
		}
		if len(a.keys) > 0 {
			key, err := call.kms.Describe(call.ctx, call.arns[0])
			if err != nil {
				return nil, err
			}
			made, _, err := call.kms.CiphertextKey(call.ctx, sealed)
			if err != nil {
				return nil, err
			}
			if made != key.ARN {
				return nil, &kms.Error{Code: codeIncorrectKey, Message: "The key ID in the request does not identify a CMK that can perform this operation."}
			}
		}
		plaintext, arn, material, err := call.kms.Decrypt(call.ctx, call.arns[0], sealed, c)
		return finish(decryptAnswer{plaintext, arn, local.Spec, material}, err, dry)
	}
	return a
}

type dataKeyAnswer struct {
	CiphertextBlob []byte
	Plaintext      []byte `json:",omitempty"`
	KeyID          string `json:"KeyId"`
	KeyMaterialID  string `json:"KeyMaterialId"`
}

func generateDataKey(in *input) action { return dataKey(in, true) }

func generateDataKeyWithoutPlaintext(in *input) action { return dataKey(in, false) }

func dataKey(in *input, plain bool) action {
	c, dry, recipient := in.context(), in.boolean("DryRun"), readRecipient(in)
	spec, size := in.enum("KeySpec", "", "AES_256", "AES_128"), in.integer("NumberOfBytes", 0, 0, maxDataKey)
	if _, given := in.value("NumberOfBytes", false); given && size == 0 {
		in.violate("NumberOfBytes", "0", "Member must have value greater than or equal to 1")
	}
	return action{keys: []string{in.key("KeyId")}, context: c, run: func(call *call) (any, error) {
		if (spec == "") == (size == 0) {
			return nil, invalid("Please specify either number of bytes or key spec.")
		}
		if recipient != nil {
			return nil, recipient
		}
		n := map[string]int{"": size, "AES_256": 32, "AES_128": 16}[spec]
		key := make([]byte, n)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		sealed, arn, material, err := call.kms.Encrypt(call.ctx, call.arns[0], key, c)
		if !plain {
			key = nil
		}
		return finish(dataKeyAnswer{sealed, key, arn, material}, err, dry)
	}}
}
