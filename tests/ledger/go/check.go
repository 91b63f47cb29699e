// Check a published vpptwin log with nothing of vpptwin: the Go checksum database's own note and tlog packages.
//
// Usage: check VKEY FOLDER [RECEIPT ENTRY]
//
// FOLDER holds `checkpoint` and `tile/` (C2SP tlog-tiles). Checked are the head's signature, every hash tile against
// the signed root, every entry against its leaf, an inclusion proof of each, and consistency from every smaller size
// that is a tenth. RECEIPT is a C2SP tlog-proof of the bytes in the file ENTRY.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

// files reads tiles of a folder; tlog authenticates what it returns.
type files struct{ folder string }

func (f files) Height() int { return 8 }

func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(f.folder, name(strconv.Itoa(tile.L), tile.N, tile.W)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func name(level string, n int64, w int) string {
	digits := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		digits = fmt.Sprintf("x%03d/%s", n%1000, digits)
	}
	if w < width {
		return fmt.Sprintf("tile/%s/%s.p/%d", level, digits, w)
	}
	return fmt.Sprintf("tile/%s/%s", level, digits)
}

func fail(what string, err error) {
	fmt.Printf("%s: %v\n", what, err)
	os.Exit(1)
}

// head is the tree that the key has signed.
func head(signed []byte, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		fail("key", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		fail("checkpoint", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		fail("checkpoint", fmt.Errorf("not a head of %s", verifier.Name()))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fail("checkpoint", err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		fail("checkpoint", fmt.Errorf("not a root"))
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree
}

func entries(folder string, size int64) [][]byte {
	var all [][]byte
	for n := int64(0); n*width < size; n++ {
		w := width
		if size-n*width < width {
			w = int(size - n*width)
		}
		data, err := os.ReadFile(filepath.Join(folder, name("entries", n, w)))
		if err != nil {
			fail("entries", err)
		}
		for len(data) > 0 {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				fail("entries", fmt.Errorf("bundle %d is cut", n))
			}
			length := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
	}
	if int64(len(all)) != size {
		fail("entries", fmt.Errorf("%d, not %d", len(all), size))
	}
	return all
}

func checkTree(folder string, tree tlog.Tree) {
	reader := tlog.TileHashReader(tree, files{folder})
	for n, data := range entries(folder, tree.N) {
		leaf := tlog.RecordHash(data)
		proof, err := tlog.ProveRecord(tree.N, int64(n), reader)
		if err != nil {
			fail(fmt.Sprintf("entry %d", n), err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(n), leaf); err != nil {
			fail(fmt.Sprintf("entry %d", n), err)
		}
	}
	for k := int64(1); k < 10; k++ {
		size := tree.N * k / 10
		if size == 0 {
			continue
		}
		root, err := tlog.TreeHash(size, reader)
		if err != nil {
			fail("tree", err)
		}
		proof, err := tlog.ProveTree(tree.N, size, reader)
		if err != nil {
			fail("tree", err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, size, root); err != nil {
			fail("tree", err)
		}
	}
}

func checkReceipt(receipt, data []byte, vkey string) {
	top, signed, found := strings.Cut(string(receipt), "\n\n")
	lines := strings.Split(top, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("receipt", fmt.Errorf("not a tlog-proof"))
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		fail("receipt", err)
	}
	tree := head([]byte(signed), vkey)
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			fail("receipt", fmt.Errorf("not a hash: %s", line))
		}
		var hash tlog.Hash
		copy(hash[:], raw)
		proof = append(proof, hash)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(data)); err != nil {
		fail("receipt", err)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fail("file", err)
	}
	return data
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 5 {
		fmt.Println("usage: check VKEY FOLDER [RECEIPT ENTRY]")
		os.Exit(2)
	}
	vkey, folder := os.Args[1], os.Args[2]
	tree := head(read(filepath.Join(folder, "checkpoint")), vkey)
	checkTree(folder, tree)
	if len(os.Args) == 5 {
		checkReceipt(read(os.Args[3]), read(os.Args[4]), vkey)
	}
	fmt.Printf("holds: %d entries\n", tree.N)
}
