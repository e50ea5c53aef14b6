package ecr_test

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"testing"

	. "berth/internal/ecr"
)

func benchmarkDecode(b *testing.B, name string, body []byte) {
	op := mustLookup(b, name)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

func batchGetImageBody(b *testing.B) []byte {
	b.Helper()
	ids := make([]ImageIdentifier, 100)
	for i := range ids {
		ids[i] = ImageIdentifier{ImageDigest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", ImageTag: "v1.2.3"}
	}
	body, err := Encode(&BatchGetImageInput{RegistryID: "123456789012", RepositoryName: "team/app", ImageIDs: ids,
		AcceptedMediaTypes: []string{"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"}})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func uploadLayerPartBody(b *testing.B) []byte {
	b.Helper()
	blob := make([]byte, 10<<20)
	source := rand.NewChaCha8([32]byte{1})
	if _, err := source.Read(blob); err != nil {
		b.Fatal(err)
	}
	body, err := Encode(map[string]any{"repositoryName": "team/app", "uploadId": "0a1b2c3d-0000-4000-8000-0123456789ab",
		"partFirstByte": 0, "partLastByte": len(blob) - 1, "layerPartBlob": base64.StdEncoding.EncodeToString(blob)})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func BenchmarkDecodeBatchGetImage(b *testing.B) {
	benchmarkDecode(b, "BatchGetImage", batchGetImageBody(b))
}

func BenchmarkDecodeUploadLayerPart(b *testing.B) {
	benchmarkDecode(b, "UploadLayerPart", uploadLayerPartBody(b))
}

// BenchmarkUnmarshalUploadLayerPart is the yardstick: encoding/json into the same type, which validates nothing.
func BenchmarkUnmarshalUploadLayerPart(b *testing.B) {
	body := uploadLayerPartBody(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var input UploadLayerPartInput
		if err := json.Unmarshal(body, &input); err != nil {
			b.Fatal(err)
		}
	}
}
