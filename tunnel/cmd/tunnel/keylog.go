package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// keyLogVariable is where browsers, curl and Wireshark look for the same.
const keyLogVariable = "SSLKEYLOGFILE"

// keyLog opens the file that the environment names for the keys of TLS; without one it
// gives nil. Done closes it.
func keyLog(log *slog.Logger) (keys io.Writer, done func(), err error) {
	path := os.Getenv(keyLogVariable)
	if path == "" {
		return nil, func() {}, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("open %s: %w: unset it to run without", keyLogVariable, err)}
	}
	log.Warn("the keys of all sessions are written: whoever has them can read what is carried", "file", path)
	return file, func() {
		if err := file.Close(); err != nil {
			log.Error("close "+keyLogVariable, "err", err)
		}
	}, nil
}
