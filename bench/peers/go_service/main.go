// The plain service in Go: net/http, pgx and franz-go. It inserts the key, then waits until Kafka has the event.
//
// As bench/peers/plain_service.py, it has no outbox, audit log, idempotency keys, deadlines or log lines. It is tuned: a
// pool of connections that stay open, prepared statements, all processors.
//
// `go_service PORT` serves until it is stopped. DATABASE_URL is the database of bench/plain_schema.py,
// KAFKA_BOOTSTRAP_SERVERS and KAFKA_TOPIC say where events go, TOKEN is the token of all requests.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
)

const poolSize = 20

const insertKey = `INSERT INTO project_key (project_id, label, public_key, secret_key, created_at)
VALUES ($1, $2, $3, $4, $5)`

const selectKey = `SELECT label, secret_key, created_at FROM project_key WHERE public_key = $1 AND project_id = $2`

type dsn struct {
	Public string `json:"public"`
	Secret string `json:"secret"`
}

type key struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Public      string    `json:"public"`
	Secret      string    `json:"secret"`
	ProjectID   int64     `json:"project_id"`
	IsActive    bool      `json:"is_active"`
	DSN         dsn       `json:"dsn"`
	DateCreated time.Time `json:"date_created"`
}

type event struct {
	ID          string    `json:"id"`
	ProjectID   int64     `json:"projectId"`
	Name        string    `json:"name"`
	DateCreated time.Time `json:"dateCreated"`
}

type server struct {
	pool          *pgxpool.Pool
	kafka         *kgo.Client
	authorization []byte
}

func newKey(projectID int64, name, public, secret string, created time.Time) key {
	host := fmt.Sprintf("127.0.0.1:9000/%d", projectID)
	return key{
		ID: public, Name: name, Public: public, Secret: secret, ProjectID: projectID, IsActive: true,
		DSN: dsn{
			Public: "http://" + public + "@" + host,
			Secret: "http://" + public + ":" + secret + "@" + host,
		},
		DateCreated: created,
	}
}

func keyHalf() string {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		panic(err)
	}
	return hex.EncodeToString(random)
}

func respond(response http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	response.WriteHeader(status)
	_, _ = response.Write(encoded)
}

// authorized returns the project of the path, or responds with an error.
func (s *server) authorized(response http.ResponseWriter, request *http.Request) (int64, bool) {
	if subtle.ConstantTimeCompare([]byte(request.Header.Get("Authorization")), s.authorization) != 1 {
		http.Error(response, "unauthorized", http.StatusUnauthorized)
		return 0, false
	}
	projectID, err := strconv.ParseInt(request.PathValue("project"), 10, 64)
	if err != nil {
		http.Error(response, "not found", http.StatusNotFound)
		return 0, false
	}
	return projectID, true
}

func (s *server) createKey(response http.ResponseWriter, request *http.Request) {
	projectID, ok := s.authorized(response, request)
	if !ok {
		return
	}
	var body struct{ Name string }
	decoder := json.NewDecoder(http.MaxBytesReader(response, request.Body, 65536))
	if err := decoder.Decode(&body); err != nil || body.Name == "" || len(body.Name) > 64 {
		http.Error(response, "name: 1 to 64 characters", http.StatusUnprocessableEntity)
		return
	}
	created := newKey(projectID, body.Name, keyHalf(), keyHalf(), time.Now().UTC())
	_, err := s.pool.Exec(request.Context(), insertKey,
		projectID, created.Name, created.Public, created.Secret, created.DateCreated)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	value, err := json.Marshal(event{created.ID, projectID, created.Name, created.DateCreated})
	if err == nil {
		record := &kgo.Record{Key: []byte(created.ID), Value: value}
		err = s.kafka.ProduceSync(request.Context(), record).FirstErr()
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	respond(response, http.StatusCreated, created)
}

func (s *server) readKey(response http.ResponseWriter, request *http.Request) {
	projectID, ok := s.authorized(response, request)
	if !ok {
		return
	}
	var name, secret string
	var created time.Time
	public := request.PathValue("key")
	err := s.pool.QueryRow(request.Context(), selectKey, public, projectID).Scan(&name, &secret, &created)
	if errors.Is(err, pgx.ErrNoRows) {
		http.Error(response, "not found", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	respond(response, http.StatusOK, newKey(projectID, name, public, secret, created))
}

func main() {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns, config.MinConns = poolSize, poolSize
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	kafka, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ",")...),
		kgo.DefaultProduceTopic(os.Getenv("KAFKA_TOPIC")),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
	)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{pool: pool, kafka: kafka, authorization: []byte("Bearer " + os.Getenv("TOKEN"))}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /projects/{project}/keys/{$}", s.createKey)
	mux.HandleFunc("GET /projects/{project}/keys/{key}/{$}", s.readKey)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], mux))
}
