package ecr

import (
	"slices"
	"strings"
)

// Operation describes one operation of the ECR API. Operations are shared and must not be changed.
type Operation struct {
	Name      string
	NewInput  func() any // returns a new pointer to the input type, for example *CreateRepositoryInput
	NewOutput func() any // returns a new pointer to the output type
	Input     *Shape
	Output    *Shape
	Errors    []string // codes of the exceptions the model lists for the operation
}

// Operations returns all operations, sorted by name.
func Operations() []*Operation { return slices.Clone(operations) }

// LookupOperation finds an operation by its exact name.
func LookupOperation(name string) (*Operation, bool) {
	i, ok := slices.BinarySearchFunc(operations, name, func(op *Operation, name string) int {
		return strings.Compare(op.Name, name)
	})
	if !ok {
		return nil, false
	}
	return operations[i], true
}

// LookupTarget finds an operation by the value of an X-Amz-Target header, "AmazonEC2ContainerRegistry_V20150921.<name>".
func LookupTarget(target string) (*Operation, bool) {
	name, ok := strings.CutPrefix(target, TargetPrefix+".")
	if !ok {
		return nil, false
	}
	return LookupOperation(name)
}

// The parts of MaxBody, in bytes.
const (
	baseBody     = 1 << 20 // every request: far above 100 elements of every list, with their longest strings
	bytesPerRune = 6       // how JSON writes a character when everything is escaped: \u0000
)

// MaxBody is the largest request body in bytes that a reader needs to accept for the operation: 1 MiB, and more where
// the model allows a large string or blob (about 25 MiB for PutImage, 28 MiB for UploadLayerPart).
func (op *Operation) MaxBody() int64 {
	size := int64(baseBody)
	for _, m := range op.Input.Members {
		if m.Shape.Max == nil {
			continue
		}
		switch m.Shape.Kind {
		case KindString:
			size += *m.Shape.Max * bytesPerRune
		case KindBlob:
			size += (*m.Shape.Max + 2) / 3 * 4
		}
	}
	return size
}
