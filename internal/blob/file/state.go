package file

import (
	"encoding/binary"
	"errors"
	"fmt"

	"berth/internal/blob"
)

// state is what a stage's owner keeps for this store:
//
//	version (1 byte) || data key (8, big endian) || writing (13) || tail
//
// The tail is the last package's bytes as they came: sealing them has to wait
// until it is known whether more follow.
type state struct {
	dataKey int64
	writing string
	tail    []byte
}

const (
	stateVersion = 1
	writingSize  = 13
	stateHeader  = 1 + 8 + writingSize
)

func (st state) encode() []byte {
	b := make([]byte, 0, stateHeader+len(st.tail))
	b = append(b, stateVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(st.dataKey))
	b = append(b, st.writing...)
	return append(b, st.tail...)
}

var errState = errors.New("the state of an upload is not one of this store")

// decodeState reads the state of a stage that has one.
func decodeState(s blob.Stage) (state, error) {
	b := s.State
	if len(b) < stateHeader || b[0] != stateVersion {
		return state{}, errState
	}
	st := state{dataKey: int64(binary.BigEndian.Uint64(b[1:])), writing: string(b[9:stateHeader]), tail: b[stateHeader:]}
	if int64(len(st.tail)) != s.Size-payload*packages(s.Size) {
		return state{}, fmt.Errorf("%w: %d bytes kept of %d", errState, len(st.tail), s.Size)
	}
	if !copyPattern.MatchString(s.ID + "-" + st.writing) {
		return state{}, errState
	}
	return st, nil
}

// packages is how many packages of a stage lie in its file: all but the last,
// which is full or not.
func packages(size int64) int64 {
	if size == 0 {
		return 0
	}
	return (size - 1) / payload
}
