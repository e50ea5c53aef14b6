package ecr

import (
	"encoding/base64"
	"reflect"
)

// bind stores a parsed value in the Go value generated for its shape. The fields of a structure are in the order of the
// shape's members (a test holds both to that), so no name is looked up.
func bind(shape *Shape, n *node, dst reflect.Value) error {
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	switch shape.Kind {
	case KindStructure:
		for i := range shape.Members {
			if !n.kids[i].present {
				continue
			}
			if err := bind(shape.Members[i].Shape, &n.kids[i], dst.Field(i)); err != nil {
				return within(err, shape.Members[i].Name)
			}
		}
	case KindList:
		dst.Set(reflect.MakeSlice(dst.Type(), len(n.kids), len(n.kids)))
		for i := range n.kids {
			if err := bind(shape.Elem, &n.kids[i], dst.Index(i)); err != nil {
				return within(err, element(i))
			}
		}
	case KindMap:
		return bindMap(shape, n, dst)
	case KindString:
		dst.SetString(n.text)
	case KindBlob:
		data, err := decodeBlob(n.blob)
		if err != nil {
			return err
		}
		dst.SetBytes(data)
	case KindInteger, KindLong:
		dst.SetInt(n.num)
	case KindBoolean:
		dst.SetBool(n.num != 0)
	case KindDouble:
		dst.SetFloat(n.float)
	case KindTimestamp:
		dst.Set(reflect.ValueOf(fromMilli(n.num)))
	}
	return nil
}

func bindMap(shape *Shape, n *node, dst reflect.Value) error {
	dst.Set(reflect.MakeMapWithSize(dst.Type(), len(n.keys)))
	for i, key := range n.keys {
		value := reflect.New(dst.Type().Elem()).Elem()
		if err := bind(shape.Elem, &n.kids[i], value); err != nil {
			return within(err, key)
		}
		dst.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), value)
	}
	return nil
}

// decodeBlob allocates exactly the blob: parts of 20 MiB should be in memory once, next to the body they came in.
func decodeBlob(b64 []byte) ([]byte, error) {
	data := make([]byte, base64.StdEncoding.DecodedLen(len(b64)))
	n, err := base64.StdEncoding.Decode(data, b64)
	if err != nil {
		return nil, &SerializationError{Reason: "the value is not valid base64"}
	}
	return data[:n], nil
}

// within puts a path segment before the member of a *SerializationError, unless it is about the syntax of the body.
func within(err error, segment string) error {
	if se, ok := err.(*SerializationError); ok && !se.syntax {
		se.Member = join(segment, se.Member)
	}
	return err
}
